"""Files that are open, change, go and come: each is read once it rests, and nothing is lost meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sorbus.conformance.sample_type import NAME
from sorbus.drift.watch import DriftWatch
from sorbus.producers.spreadsheet import chosen_files
from sorbus.producers.spreadsheet.chosen_files import ChosenFiles
from sorbus.producers.spreadsheet.options import SpreadsheetSource
from sorbus.spreadsheet.files import lock_of, matching
from tests.producers.spreadsheet.office import Office, many


def test_a_file_that_is_open_in_excel_waits_and_says_by_whom(office: Office) -> None:
    path = office.write(many(3))
    lock = path.with_name("~$list.csv")
    lock.write_bytes(b"\x0cAnna Kellers" + bytes(50))
    office.until(lambda: bool(office.problems), "the lock is told")
    assert "list.csv is open by Anna Kellers" in office.problems[0]
    assert "~$list.csv" in (office.producer.problem or "")
    assert not office.live
    lock.unlink()
    office.until(lambda: len(office.live) == 3 and office.producer.problem is None, "it is read once it is closed")


def test_libreoffices_lock_counts_too_unless_the_map_says_to_read(tmp_path: Path) -> None:
    office = Office(tmp_path, open_files="read")
    path = office.write(many(2))
    path.with_name(".~lock.list.csv#").write_text(",anna,desk,29.11.2026 09:12,file:///x;")
    office.until(lambda: len(office.live) == 2, "read as saved last")
    office.producer.close()
    waits = Office(tmp_path)
    waits.until(lambda: bool(waits.problems), "the lock is told")
    assert "open by anna" in waits.problems[0]
    waits.producer.close()


def test_a_file_that_is_being_written_is_left_until_it_rests(tmp_path: Path) -> None:
    office = Office(tmp_path, settle=0.3)
    with (tmp_path / "list.csv").open("w") as opened:
        opened.write("No,Name\n")
        for number in range(12):
            opened.write(f"{number},name {number}\n")
            opened.flush()
            office.looks(2)
            assert not office.live, "read while it was written"
    office.until(lambda: len(office.live) == 12, "read at rest")
    office.producer.close()


def test_a_file_that_never_rests_is_told_of_until_it_does(tmp_path: Path) -> None:
    now = 0.0
    options = SpreadsheetSource.model_validate({"file": "list.csv", "key": "No", "settle": 2})
    files = ChosenFiles(options, tmp_path, lambda: now)
    path = tmp_path / "list.csv"
    told = []
    for second in range(0, 300, 5):
        now = float(second)
        path.write_text(f"No,Name\n{second},x\n")
        os.utime(path, (second, second))
        told += [(second, *files.look(again=False).problems)]
    assert [one[1:] for one in told if one[0] <= 60] == [()] * 13
    assert all("list.csv has been changing for more than 60 s" in one[1] for one in told if one[0] > 60)
    now += 3
    assert files.look(again=False).ready.keys() == {path}
    os.utime(path, (1, 1))
    now += 1
    assert not files.look(again=False).problems, "at rest meanwhile"


@pytest.mark.parametrize("characters", [60, 83])
def test_a_file_with_a_long_name_is_open_only_if_a_program_says_so(tmp_path: Path, characters: int) -> None:
    path = tmp_path / ("表" * characters + ".csv")
    path.write_text("No,Name\n")
    assert lock_of(path) is None
    if characters == 60:
        path.with_name(f".~lock.{path.name}#").write_text(",ann,host,now;")
        assert (lock := lock_of(path)) is not None
        assert lock.who == "ann"


@pytest.mark.parametrize("open_one", ["list-1.csv", "list-2.csv"])
def test_confirmed_deletes_wait_for_a_file_that_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_one: str
) -> None:
    asked: list[int] = []
    confirmed: set[str] = set()
    looks: list[int] = []
    monkeypatch.setattr(DriftWatch, "look_deleted", lambda _s, _t, _r, ids, _k, _w: asked.append(len(ids)))
    monkeypatch.setattr(DriftWatch, "confirmed_deletes", lambda *_: frozenset(confirmed))
    monkeypatch.setattr(DriftWatch, "deletes_applied", lambda *_: confirmed.clear())
    look = ChosenFiles.look
    monkeypatch.setattr(ChosenFiles, "look", lambda self, *, again: looks.append(0) or look(self, again=again))
    office = Office(tmp_path, file="list-*.csv")
    office.write([("x", "other")], "list-2.csv")
    office.write(many(50), "list-1.csv")
    office.until(lambda: len(office.live) == 51, "read")
    office.write(many(10), "list-1.csv")
    office.until(lambda: 40 in asked, "a person is asked")
    lock = tmp_path / f".~lock.{open_one}#"
    lock.write_text(",ann,host,now;")
    office.until(lambda: bool(office.problems), "open")
    monkeypatch.setattr(SpreadsheetSource, "seconds", 60.0)
    confirmed |= {str(number) for number in range(11, 51)}
    before = len(looks)
    office.looks(50)
    assert len(looks) <= before + 2, "one look for what was confirmed, and then no more than usual"
    assert len(office.live) == 51
    lock.unlink()
    monkeypatch.setattr(SpreadsheetSource, "seconds", 0.02)
    office.producer.list_anew()
    office.until(lambda: len(office.live) == 11, "deleted as confirmed")
    office.producer.close()


@pytest.mark.parametrize("content", [b"", b"\0" * 300, b"No;Nme\n1;x\n", b"PK\x03\x04"])
def test_a_broken_file_deletes_nothing_and_says_why(office: Office, content: bytes) -> None:
    path = office.write(many(5))
    office.until(lambda: len(office.live) == 5, "read")
    path.write_bytes(content)
    office.until(lambda: bool(office.problems), "told")
    office.looks()
    assert len(office.live) == 5
    office.write(many(6))
    office.until(lambda: len(office.live) == 6 and office.producer.problem is None, "corrected")


def test_one_file_that_is_missing_or_open_holds_no_other_and_deletes_nothing(tmp_path: Path) -> None:
    office = Office(tmp_path, file="list-*.csv")
    office.write(many(5), "list-a.csv")
    second = office.write([(6, "six"), (7, "seven")], "list-b.csv")
    office.until(lambda: len(office.live) == 7, "read both")
    lock = second.with_name("~$list-b.csv")
    lock.write_bytes(b"\x01x")
    office.write([(1, "changed"), *many(5)[1:]], "list-a.csv")
    office.until(lambda: office.live["1"] == "changed", "the other goes on")
    office.looks()
    assert len(office.live) == 7
    lock.unlink()
    second.unlink()
    office.looks(8)
    office.until(lambda: len(office.live) == 5, "a file that is gone takes its rows along, within the limits")
    office.producer.close()


@pytest.mark.parametrize("files", ["newest", "last", "all"])
def test_a_file_that_goes_while_it_is_looked_at_disturbs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: str
) -> None:
    office = Office(tmp_path, file="list*.csv", files=files)
    office.write(many(2))
    office.until(lambda: len(office.live) == 2, "read")
    gone = [tmp_path / "list-gone.csv"]
    monkeypatch.setattr(chosen_files, "matching", lambda folder, pattern: [*matching(folder, pattern), *gone])
    office.looks()
    assert len(office.live) == 2
    gone.clear()
    office.write(many(3))
    office.until(lambda: len(office.live) == 3, "read on")
    assert not office.problems
    office.producer.close()


@pytest.mark.parametrize("ask", ["resnapshot", "reread", "list_anew"])
def test_what_is_asked_for_while_the_file_is_open_is_done_once_it_is_closed(office: Office, ask: str) -> None:
    office.write(many(3))
    office.until(lambda: len(office.live) == 3, "read")
    lock = office.folder / ".~lock.list.csv#"
    lock.write_text(",ann,host,now;")
    office.until(lambda: bool(office.problems), "open")
    [poller] = office.producer._pollers
    poller._memory.doubt([b"1", b"2", b"3"])
    match ask:
        case "resnapshot":
            office.producer.resnapshot([NAME])
        case "reread":
            office.producer.reread(NAME, [b"1"])
        case _:
            office.producer.list_anew()
    office.looks()
    assert office.events == 3
    lock.unlink()
    office.until(lambda: office.events == 6, "done")


def test_the_newest_of_several_exports_counts_alone(tmp_path: Path) -> None:
    office = Office(tmp_path, file="list-*.csv", files="newest")
    office.write(many(4), "list-2.csv")
    old = office.write(many(9), "list-1.csv")
    os.utime(old, (1, 1))
    office.until(lambda: len(office.live) == 4, "the newest")
    office.producer.close()


def test_a_remark_below_the_rows_is_skipped_whatever_its_width(tmp_path: Path) -> None:
    """No cell before the first column can have moved the key out of it. Deletes go on."""
    office = Office(tmp_path, keyless_rows="skip", max_deletes=10)
    office.write([*many(5), ("", "printed", "on Monday", "by Ann")])
    office.until(lambda: len(office.live) == 5, "the rows")
    office.write([*many(4), ("", "printed", "on Friday", "by Ann")])
    office.until(lambda: len(office.live) == 4, "a delete")
    assert not office.letters
