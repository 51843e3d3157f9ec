"""Timings, quiet hours and calendars of a map."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from sorbus.errors import Finding, MapError
from sorbus.map.checks.check import check
from sorbus.map.checks.times import check_calendars
from sorbus.map.load import load_map
from sorbus.map.loaded import LoadedMap

MAP = """
calendars:
  uk: {calendar}
systems:
  crm: {{kind: postgres, connection: {{dsn: "postgresql://crm"}}, owner: Sales}}
  books: {{kind: postgres, connection: {{dsn: "postgresql://books"}}, owner: Finance, quiet: {books}}}
data_types:
  customer: {{system_of_record: crm, source: {{table: customers}}}}
flows:
  - {{data_type: customer, to: books, timing: {timing}, quiet: {quiet}, target: {{table: debtors}}}}
"""


def written(folder: Path, **words: str) -> LoadedMap:
    usual = {"calendar": "holidays.csv", "books": "[]", "timing": "working days at 18:00", "quiet": "[]"}
    (folder / "map.yaml").write_text(MAP.format_map({**usual, **words}))
    return load_map(folder / "map.yaml")


def about_times(loaded: LoadedMap) -> list[Finding]:
    return [one for one in check(loaded) if one.code in ("bad-timing", "bad-quiet", "always-quiet", "calendar-ended")]


def test_a_flow_keeps_its_quiet_hours_and_those_of_its_target_and_works_by_the_calendar(tmp_path: Path) -> None:
    (tmp_path / "holidays.csv").write_text("2026-12-25\n2099-12-25\n")
    loaded = written(tmp_path, books="weekdays 17:00-20:00", quiet='["20:00-22:00", holidays]')

    assert about_times(loaded) == []
    times = loaded.flow("customer-to-books").times
    assert times is not None
    assert times.next_run(datetime(2026, 12, 24, 16, tzinfo=UTC)) == datetime(2026, 12, 24, 22, tzinfo=UTC)
    assert times.next_run(datetime(2026, 12, 24, 22, tzinfo=UTC)) == datetime(2026, 12, 28, 22, tzinfo=UTC)
    assert times.words(datetime(2026, 12, 25, 9, tzinfo=UTC)) == "quiet until 00:00 UTC"


def test_the_digest_of_a_map_knows_its_holidays(tmp_path: Path) -> None:
    (tmp_path / "holidays.csv").write_text("2099-12-25\n")
    before = written(tmp_path).digest
    (tmp_path / "holidays.csv").write_text("2099-12-26\n")
    assert written(tmp_path).digest != before


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ({"timing": "working days (fr) at 18:00"}, "bad-timing", "no calendar is called 'fr'"),
        ({"timing": "now and then"}, "bad-timing", "is not a valid timing"),
        ({"quiet": "22:00-22:00"}, "bad-quiet", "it ends when it begins"),
        ({"books": "[daily, holidays (fr)]"}, "bad-quiet", "no calendar is called 'fr'"),
        ({"books": "06:00-18:00", "quiet": "18:00-06:00"}, "always-quiet", "leave no time to deliver"),
    ],
)
def test_times_that_nothing_can_keep_are_findings(
    tmp_path: Path, words: dict[str, str], code: str, message: str
) -> None:
    (tmp_path / "holidays.csv").write_text("2099-12-25\n")
    (found,) = about_times(written(tmp_path, **words))
    assert found.code == code
    assert message in found.message
    assert found.fix


@pytest.mark.parametrize(
    ("calendar", "message"),
    [
        ("absent.csv", "can't be read: No such file"),
        ("../other.csv", "outside the map's folder"),
        ("bad.csv", "is no date"),
    ],
)
def test_a_calendar_that_cannot_be_read_stops_reading_the_map(tmp_path: Path, calendar: str, message: str) -> None:
    (tmp_path / "bad.csv").write_text("date\n2026-13-01\n")
    with pytest.raises(MapError) as refused:
        written(tmp_path, calendar=calendar)
    (found,) = refused.value.findings
    assert message in found.message
    assert (found.file.name, found.line) == (("bad.csv", 2) if calendar == "bad.csv" else ("map.yaml", 3))


def test_a_calendar_whose_holidays_are_past_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "holidays.csv").write_text("2026-12-25\n")
    loaded = written(tmp_path)
    assert list(check_calendars(loaded, date(2026, 12, 25))) == []
    (found,) = check_calendars(loaded, date(2026, 12, 25) + timedelta(days=1))
    assert "its last holiday was on 2026-12-25" in found.message
    assert found.fix == "add the coming holidays to holidays.csv"
