"""Holidays from a file that the company keeps: a CSV with a date a line, or a calendar (.ics, RFC 5545)."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

LARGEST = 1_000_000
"""Bytes; a century of holidays is a tenth of that."""
_LAST_YEAR = 2100
_MOST_DAYS = 50_000
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_BASIC = re.compile(r"(\d{4})(\d{2})(\d{2})")


class WrongHoliday(ValueError):
    """A line of the file that can't be read: its number, what is wrong, and what to write."""

    def __init__(self, line: int, message: str, fix: str) -> None:
        super().__init__(f"{message}; {fix}")
        self.line, self.message, self.fix = line, message, fix


def read_holidays(file: Path) -> frozenset[date]:
    """All days of the file. WrongHoliday for a line that is no date; OSError."""
    with file.open("rb") as stream:
        data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise WrongHoliday(1, f"it is larger than {LARGEST:,} bytes", "keep only the holidays in it")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise WrongHoliday(line, "it isn't UTF-8", "save it as UTF-8") from error
    days = _from_ics(text) if file.suffix.lower() == ".ics" else _from_csv(text)
    found: set[date] = set()
    for day in days:
        found.add(day)
        if len(found) > _MOST_DAYS:
            raise WrongHoliday(1, f"it holds more than {_MOST_DAYS:,} days", "keep only the holidays in it")
    return frozenset(found)


def _from_csv(text: str) -> Iterator[date]:
    """The first cell of each row; the first row may be a heading. Rows that begin with # are comments."""
    separator = ";" if text.partition("\n")[0].count(";") > text.partition("\n")[0].count(",") else ","
    rows = csv.reader(text.splitlines(), delimiter=separator)
    is_first = True
    for row in rows:
        cell = row[0].strip() if row else ""
        if not cell and any(one.strip() for one in row):
            raise WrongHoliday(rows.line_num, "there is no date in the first column", "write it as 2026-12-25")
        if not cell or cell.startswith("#"):
            continue
        found = _DATE.fullmatch(cell)
        if found:
            yield _day(rows.line_num, found)
        elif not is_first or any(one.isdigit() for one in cell):
            raise WrongHoliday(rows.line_num, f"{cell[:40]!r} is no date", "write it as 2026-12-25")
        is_first = False


def _from_ics(text: str) -> Iterator[date]:
    event: dict[str, tuple[int, str, str]] | None = None
    skipped: set[date] = set()
    for line, name, parameters, value in _properties(text):
        if name == "BEGIN" and value.upper() == "VEVENT":
            event, skipped = {}, set()
        elif name == "END" and value.upper() == "VEVENT" and event is not None:
            yield from (day for day in _event(line, event) if day not in skipped)
            event = None
        elif event is not None and name == "EXDATE":
            skipped |= {_basic(line, one) for one in value.split(",")}
        elif event is not None and name == "RDATE":
            raise WrongHoliday(line, "RDATE isn't read", "write an event for each day")
        elif event is not None:
            event.setdefault(name, (line, parameters, value))


def _properties(text: str) -> Iterator[tuple[int, str, str, str]]:
    """Line, name, parameters and value of each property; long ones are folded into lines that begin with a space."""
    begun, whole = 0, ""
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if line[:1] in (" ", "\t"):
            whole += line[1:]
            continue
        if whole:
            head, _, value = whole.partition(":")
            name, _, parameters = head.partition(";")
            yield begun, name.strip().upper(), parameters.upper(), value.strip()
        begun, whole = number, line


def _event(line: int, event: dict[str, tuple[int, str, str]]) -> Iterator[date]:
    if event.get("STATUS", (0, "", ""))[2].upper() == "CANCELLED":
        return
    if "DTSTART" not in event:
        raise WrongHoliday(line, "an event has no DTSTART", "write DTSTART;VALUE=DATE:20261225")
    at, _, begin = event["DTSTART"]
    first = _basic(at, begin)
    days = 1
    if "DTEND" in event:  # exclusive
        days = max(1, (_basic(event["DTEND"][0], event["DTEND"][2]) - first).days)
    elif "DURATION" in event:
        found = re.fullmatch(r"\+?P(?:(\d{1,3})W)?(?:(\d{1,4})D)?", event["DURATION"][2].upper())
        if found is None:
            raise WrongHoliday(event["DURATION"][0], "an event doesn't last whole days", "write DTEND;VALUE=DATE")
        days = max(1, int(found[1] or 0) * 7 + int(found[2] or 0))
    if days > 366:
        raise WrongHoliday(at, f"an event lasts {days} days", "a holiday lasts at most a year")
    for begins in _repeated(first, event):
        for more in range(days):
            yield begins + timedelta(days=more)


def _repeated(first: date, event: dict[str, tuple[int, str, str]]) -> Iterator[date]:
    if "RRULE" not in event:
        yield first
        return
    from dateutil.rrule import rrulestr

    line, _, rule = event["RRULE"]
    try:
        for day in rrulestr(re.sub(r"(UNTIL=\d{8})T\d{6}Z?", r"\1", rule), dtstart=datetime(*first.timetuple()[:3])):
            if day.year > _LAST_YEAR:
                return
            yield day.date()
    except (ValueError, TypeError) as error:
        raise WrongHoliday(
            line, f"RRULE {rule[:60]!r} can't be read", "write FREQ=YEARLY, or an event a day"
        ) from error


def _basic(line: int, value: str) -> date:
    found = _BASIC.fullmatch(value.strip())
    if found is None:
        fix = "a holiday is a whole day: write DTSTART;VALUE=DATE:20261225"
        raise WrongHoliday(line, f"{value[:40]!r} is no date", fix)
    return _day(line, found)


def _day(line: int, found: re.Match[str]) -> date:
    try:
        return date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError as error:
        raise WrongHoliday(line, f"{found[0]!r} is no date", "write it as 2026-12-25") from error
