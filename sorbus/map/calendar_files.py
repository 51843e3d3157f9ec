"""The map's calendars, with the holidays of their files."""

from __future__ import annotations

from sorbus.errors import Finding
from sorbus.mapfile.document import Document
from sorbus.mapfile.model import Calendar, Map
from sorbus.timing.calendars import WEEKDAYS, Calendars, WorkingCalendar
from sorbus.timing.holiday_file import WrongHoliday, read_holidays


def read_calendars(company: Map, document: Document) -> list[Finding]:
    """Gives a map its calendars; findings for files that can't be read."""
    findings: list[Finding] = []
    read = {}
    for name, written in company.calendars.items():
        try:
            read[name] = _read(name, written, document)
        except _Unreadable as error:
            findings.append(error.finding)
    company.set_calendars(Calendars(read))
    return findings


class _Unreadable(Exception):
    def __init__(self, finding: Finding) -> None:
        super().__init__(finding)
        self.finding = finding


def _read(name: str, written: Calendar, document: Document) -> WorkingCalendar:
    weekend = frozenset(WEEKDAYS.index(day) for day in written.weekend)
    if written.holidays is None:
        return WorkingCalendar(weekend)
    path, folder = ("calendars", name), document.file.parent
    file = folder / written.holidays
    if not file.resolve().is_relative_to(folder.resolve()):
        fix = "keep the file beside the map, such as calendars/holidays.csv"
        message = f"calendar {name}: {written.holidays} is outside the map's folder"
        raise _Unreadable(Finding(document.file, document.line(*path), message, fix, "bad-calendar"))
    try:
        return WorkingCalendar(weekend, read_holidays(file))
    except WrongHoliday as error:
        message = f"calendar {name}: {error.message}"
        raise _Unreadable(Finding(file, error.line, message, error.fix, "bad-calendar")) from error
    except OSError as error:
        message = f"calendar {name}: {written.holidays} can't be read: {error.strerror or error}"
        fix = "write the name of a CSV or .ics file beside the map"
        raise _Unreadable(Finding(document.file, document.line(*path), message, fix, "bad-calendar")) from error
