"""Whether timings and quiet hours can be read, leave time to deliver, and rest on calendars that haven't ended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

from sorbus.errors import Finding
from sorbus.map.loaded import LoadedMap
from sorbus.mapfile.model import lines
from sorbus.timing.quiet import FIX as QUIET_FIX
from sorbus.timing.quiet import LONGEST, QuietHours, parse_quiet
from sorbus.timing.schedule import FIX, parse_timing


def check_times(loaded: LoadedMap, place: int) -> Iterator[Finding]:
    """Findings about one flow."""
    company, path = loaded.map, ("flows", place)
    flow = company.flows[place]
    try:
        parse_timing(flow.timing, company.working)
    except ValueError as error:
        message, fix = _split(error, FIX)
        yield loaded.finding((*path, "timing"), "bad-timing", f"{flow.id}: {message}", fix)
    yield from _quiet(loaded, (*path, "quiet"), flow.id, flow.quiet)
    target = company.systems.get(flow.to)
    if target is None or not (flow.quiet or target.quiet):
        return
    try:
        quiet = company.times(flow).quiet
    except ValueError:
        return
    if _never_ends(quiet):
        message = f"{flow.id}: its quiet hours and those of {flow.to} leave no time to deliver for {LONGEST.days} days"
        yield loaded.finding(
            (*path, "quiet"), "always-quiet", message, "write fewer, or none: `none:` or `sorbus pause`"
        )


def check_system_times(loaded: LoadedMap) -> Iterator[Finding]:
    """Findings about the quiet hours of systems."""
    for name, system in loaded.map.systems.items():
        yield from _quiet(loaded, ("systems", name, "quiet"), name, system.quiet)


def check_calendars(loaded: LoadedMap, today: date | None = None) -> Iterator[Finding]:
    """Calendars whose holidays are all past: days to come count as working days, which nobody has said."""
    day = today or datetime.now(UTC).date()
    for name, calendar in loaded.map.working.named.items():
        if calendar.last_holiday is not None and calendar.last_holiday < day:
            message = (
                f"calendar {name}: its last holiday was on {calendar.last_holiday}; all later weekdays count as working"
            )
            fix = f"add the coming holidays to {loaded.map.calendars[name].holidays}"
            yield loaded.finding(("calendars", name), "calendar-ended", message, fix)


def _quiet(loaded: LoadedMap, path: tuple[str | int, ...], name: str, written: str | list[str]) -> Iterator[Finding]:
    try:
        parse_quiet(lines(written), loaded.map.working)
    except ValueError as error:
        message, fix = _split(error, QUIET_FIX)
        yield loaded.finding(path, "bad-quiet", f"{name}: {message}", fix)


def _split(error: ValueError, usual: str) -> tuple[str, str]:
    """What is wrong, and what to write."""
    said = str(error)
    if said.endswith(usual):
        return said.removesuffix(usual).rstrip("; "), usual
    message, _, fix = said.rpartition("; ")
    return (message, fix) if message else (said, usual)


def _never_ends(quiet: QuietHours) -> bool:
    moment = datetime.now(UTC)
    found = quiet.until(moment)
    return found is not None and found.moment - moment >= LONGEST - timedelta(days=1)
