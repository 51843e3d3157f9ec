"""The time of day in a written date, and its zone: a literal offset, or a known name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo

from sorbus.mapping.filters.moment import placed, zone

_NUMBERED = {
    **{"EST": -5, "EDT": -4, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7},
    **{"WET": 0, "WEST": 1, "CET": 1, "CEST": 2, "MEZ": 1, "MESZ": 2, "EET": 2, "EEST": 3, "MSK": 3},
}
"""Hours east of Greenwich: RFC 5322 section 4.3 for America, IANA's database for Europe. CST is China's too."""
_WHERE = {
    **dict.fromkeys(("EST", "EDT"), "America/New_York"),
    "CDT": "America/Chicago",
    **dict.fromkeys(("MST", "MDT"), "America/Denver"),
    **dict.fromkeys(("PST", "PDT"), "America/Los_Angeles"),
    **dict.fromkeys(("WET", "WEST"), "Europe/Lisbon"),
    **dict.fromkeys(("CET", "CEST", "MEZ", "MESZ"), "Europe/Berlin"),
    **dict.fromkeys(("EET", "EEST"), "Europe/Helsinki"),
    "MSK": "Europe/Moscow",
}
"""Where a zone name with a summer counterpart is used: CET in July is probably not what was meant."""
_GREENWICH = frozenset({"Z", "UTC", "GMT", "UT"})
_CLOCK = re.compile(
    r"(?:^|[\sT,]+(?:(?:at|um|kl\.?|à|às|alle|om|a las)\s+)?)"
    r"(?P<hour>\d{1,2})"
    r"(?:(?P<mark>[:.h])(?P<minute>\d{2})(?:(?:(?P=mark)|m)(?P<second>\d{2})s?(?:[.,](?P<fraction>\d{1,9}))?)?)?"
    r"(?:\s?(?P<half>[aApP]\.?[mM]\.?)(?![^\W\d_])|\s?(?:Uhr|h|hrs)(?![^\W\d_]))?"
    r"\s?(?P<zone>(?:(?:GMT|UTC|UT)\s?)?[+-]\d{1,2}(?::?\d{2})?|[A-Z][A-Za-z]{0,4}|[A-Z][A-Za-z_]+/[A-Za-z_/+-]+)?"
    r"\s?(?:\[(?P<place>[A-Za-z_/+-]+)\]|\((?P<comment>[^()]{1,60})\))?$"
)
_COMPACT = re.compile(
    r"(?<=\d{8})[T ]?(?P<hour>\d{2})(?P<minute>\d{2})(?P<second>\d{2})?(?:[.,](?P<fraction>\d{1,9}))?"
    r"(?P<zone>Z|[+-]\d{2}(?::?\d{2})?)?$"
)
_OFFSET = re.compile(r"(?:GMT|UTC|UT)?\s?(?P<sign>[+-])(?P<hours>\d{1,2})(?::?(?P<minutes>\d{2}))?")


@dataclass(frozen=True, slots=True)
class Clock:
    """A written time of day. `zone` is an offset or a name, `place` a zone's name in brackets after it."""

    hour: int
    minute: int
    second: int
    microsecond: int
    zone: str
    place: str

    @property
    def has_zone(self) -> bool:
        """Whether it has a zone or offset."""
        return bool(self.zone or self.place)

    def on(self, day: date, tz: str, written: str) -> datetime:
        """The timestamp in UTC; `tz` is its zone if it has none. ValueError."""
        local = datetime(day.year, day.month, day.day, self.hour, self.minute, self.second, self.microsecond)
        if not self.has_zone:
            return placed(local, tz)
        if not self.zone:
            return placed(local, self.place)
        found = placed(local.replace(tzinfo=_zone(self.zone, local, tz, written)), "")
        if self.place and found.astimezone(zone(self.place)).replace(tzinfo=None) != local:
            raise ValueError(f"{written} has an offset that {self.place} doesn't have then")
        return found


def clock_at_end(text: str) -> tuple[str, Clock | None]:
    """A text without its time, and that time, if any. ValueError for an invalid hour or minute."""
    # JavaScript and the C library write the year after the zone: "Nov 24 15:05:00 UTC 2026".
    if found := re.fullmatch(r"(.* \d{1,2}) (\d{1,2}:\d{2}(?::\d{2})?(?: [A-Z]{1,5})?) (\d{4})", text):
        text = f"{found[1]} {found[3]} {found[2]}"
    at_start = re.fullmatch(
        r"(\d{1,2}(?::\d{2}(?::\d{2})?(?: ?[AaPp]\.?[Mm]\.?)?| ?[AaPp]\.?[Mm]\.?)),? (\D*\d.*)", text
    )
    if at_start and ":" not in at_start[2]:
        text = f"{at_start[2]} {at_start[1]}"
    found = _COMPACT.search(text) if text[:8].isdigit() else None
    found = found or _with_marks(text)
    if found is None:
        return text, None
    half = (found.groupdict().get("half") or "").lower().replace(".", "")
    hour, minute, second = (int(found[name] or 0) for name in ("hour", "minute", "second"))
    if half:
        if hour > 12 or (half == "pm" and hour == 0):
            raise ValueError(f"there is no hour {hour} {half}")
        hour = hour % 12 + (12 if half == "pm" else 0)
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(f"there is no time {hour}:{minute:02}:{second:02}")
    microsecond = int((found["fraction"] or "").ljust(6, "0")[:6])
    place = found.groupdict().get("place") or ""
    return text[: found.start()], Clock(hour, minute, second, microsecond, found["zone"] or "", place)


def _with_marks(text: str) -> re.Match[str] | None:
    """The first reading in which a time has separators, or AM or PM."""
    for start in re.finditer(r"[\sT,]+(?=(?:[a-zà]+\.?\s+)?\d)", text):
        found = _CLOCK.match(text, start.start())
        if found and (found["minute"] or found["half"] or re.search(r"\d ?(?:Uhr|h|hrs)\b", found[0])):
            if found["mark"] == "." and not re.search(r"\d{4}\W*$|^\d{4}\b", text[: found.start()]):
                continue
            return found
    return None


def _zone(written: str, local: datetime, tz: str, text: str) -> tzinfo:
    if found := _OFFSET.fullmatch(written):
        hours, minutes = int(found["hours"]), int(found["minutes"] or 0)
        if hours > 15 or minutes > 59:
            raise ValueError(f"{text} has an offset that no zone has")
        offset = timedelta(hours=hours, minutes=minutes)
        return timezone(-offset if found["sign"] == "-" else offset)
    if written in _GREENWICH:
        return UTC
    if "/" in written:
        return zone(written)
    if tz and _called(written, local, tz):
        return zone(tz)
    if written not in _NUMBERED:
        raise ValueError(f"{text} names a time zone that isn't known, {written}: write its offset, such as +02:00")
    offset = timedelta(hours=_NUMBERED[written])
    if local.replace(tzinfo=zone(_WHERE[written])).utcoffset() != offset:
        raise ValueError(f"{text} names {written}, which isn't in force on that day: write its offset, such as +02:00")
    return timezone(offset)


def _called(name: str, local: datetime, tz: str) -> bool:
    return local.replace(tzinfo=zone(tz)).tzname() == name
