"""What a producer makes of files that people open, copy, shorten and break."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import openpyxl
import pytest

from sorbus.abilities import PublishedState
from sorbus.conformance.sample_type import NAME, SCHEMA, decode, rows
from sorbus.connector import Batch, BoundSource, BoundSystem, Position
from sorbus.drift.watch import DriftWatch
from sorbus.errors import PartialOutage, Unfinished
from sorbus.mapfile.model import DataType, System
from sorbus.producers.spreadsheet.options import SpreadsheetSource
from sorbus.producers.spreadsheet.producer import SpreadsheetProducer
from sorbus.spreadsheet.files import SpreadsheetConnection

WITHIN = 10.0
Rows = Sequence[tuple[object, object]]


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SpreadsheetSource, "seconds", 0.02)


class Office:
    """A folder, a producer on it, and what the producer has published."""

    def __init__(self, folder: Path, *, is_mapped: bool = True, **options: object) -> None:
        """`is_mapped`: the mapping sheet has a row; else every field takes the column of its name."""
        self.folder, self._is_mapped = folder, is_mapped
        given = {"file": "list.csv", "key": "No", "settle": 0.01, "removed_rows": "delete", **options}
        self._options = SpreadsheetSource.model_validate(given)
        self.live: dict[str, str] = {}
        self.notes: dict[str, object] = {}
        self.letters: dict[str, str] = {}
        self.problems: list[str] = []
        self.events = 0
        self.position: Position = {}
        self.producer = self.start()

    def start(self, *published: PublishedState, position: Position | None = None) -> SpreadsheetProducer:
        mapping = [("name", f"{self._options.resource}.Name", "")] if self._is_mapped else []
        data_type = DataType(system_of_record="office")
        source = BoundSource(NAME, data_type, SCHEMA, rows("office", mapping, into=False), self._options)
        connection = SpreadsheetConnection(path=Path())
        system = BoundSystem("office", System(kind="spreadsheet"), connection, "", self.folder)
        self.producer = SpreadsheetProducer(system, [source])
        self.producer.remember(NAME, published)
        self.producer.open(position)
        return self.producer

    def write(self, rows: Rows, name: str = "list.csv") -> Path:
        path = self.folder / name
        with path.open("w", encoding="utf-8", newline="") as opened:
            csv.writer(opened).writerows([("No", "Name"), *rows])
        return path

    def step(self) -> None:
        try:
            batch = self.producer.read(0.02)
        except PartialOutage as error:
            self.problems.append(str(error))
        except Unfinished:
            pass
        else:
            self._take(batch)

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WITHIN
        while not is_so():
            assert time.monotonic() < deadline, f"{what}: {self.live} {self.letters} {self.problems[-1:]}"
            self.step()

    def looks(self, times: int = 5) -> None:
        """The files are looked at so many times again."""
        for _ in range(times):
            self.step()

    def _take(self, batch: Batch | None) -> None:
        self.position = batch.position if batch else self.position
        for change in batch.changes if batch else ():
            id = change.id.decode()
            self.events += 1
            self.letters.pop(id, None)
            if change.data is None:
                self.live.pop(id, None)
            else:
                record = decode(change.data)
                self.live[id], self.notes[id] = str(record["name"]), record["note"]
        for reject in batch.rejects if batch else ():
            self.letters[reject.id.decode()] = str(reject.error)
        for _, id in batch.resolved if batch else ():
            self.letters.pop(id.decode(), None)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    yield made
    made.producer.close()


def many(count: int) -> Rows:
    return [(number, f"name {number}") for number in range(1, count + 1)]


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


def test_a_row_that_is_gone_twice_is_a_delete(office: Office) -> None:
    office.write(many(20))
    office.until(lambda: len(office.live) == 20, "read")
    office.write(many(19))
    office.until(lambda: len(office.live) == 19, "deleted")
    assert "20" not in office.live


def test_a_removed_row_means_nothing_unless_the_map_says_so(tmp_path: Path) -> None:
    office = Office(tmp_path, removed_rows="keep")
    office.write(many(20))
    office.until(lambda: len(office.live) == 20, "read")
    office.write([(1, "changed")])
    office.until(lambda: office.live["1"] == "changed", "changed")
    office.looks()
    assert len(office.live) == 20
    office.producer.close()


def test_a_file_that_lost_a_large_part_is_a_question(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    confirmed: set[str] = set()
    monkeypatch.setattr(DriftWatch, "look_deleted", lambda _s, _t, _r, ids, _k, _w: asked.append(len(ids)))
    monkeypatch.setattr(DriftWatch, "confirmed_deletes", lambda *_: frozenset(confirmed))
    office.write(many(50))
    office.until(lambda: len(office.live) == 50, "read")
    office.write([*many(10), (51, "new")])
    office.until(lambda: 40 in asked, "a person is asked")
    office.looks()
    assert len(office.live) == 51, "nothing is deleted meanwhile, and what is new has come"
    confirmed |= {str(number) for number in range(11, 51)}
    office.until(lambda: len(office.live) == 11, "confirmed")


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


def test_the_newest_of_several_exports_counts_alone(tmp_path: Path) -> None:
    office = Office(tmp_path, file="list-*.csv", files="newest")
    office.write(many(4), "list-2.csv")
    old = office.write(many(9), "list-1.csv")
    os.utime(old, (1, 1))
    office.until(lambda: len(office.live) == 4, "the newest")
    office.producer.close()


def test_a_doubled_key_counts_for_none_until_one_is_left(office: Office) -> None:
    office.write([(1, "one"), (2, "two"), (1, "other")])
    office.until(lambda: "1" in office.letters, "a letter")
    assert "row 2, list.csv, row 4" in office.letters["1"]
    assert office.live == {"2": "two"}
    office.write([(1, "other"), (2, "two")])
    office.until(lambda: office.live.get("1") == "other", "corrected")
    assert not office.letters


def test_a_letter_of_a_row_that_is_gone_is_closed(tmp_path: Path) -> None:
    office = Office(tmp_path, removed_rows="keep")
    office.write([(1, "one"), ("", "nobody"), (2, "")])
    office.until(lambda: len(office.letters) == 2, "letters")
    office.write([(1, "one")])
    office.until(lambda: not office.letters, "closed")
    office.producer.close()


def test_a_row_that_comes_back_as_wrong_as_it_went_is_a_letter_again(tmp_path: Path) -> None:
    office = Office(tmp_path, removed_rows="keep")
    for _ in range(3):
        office.write([(1, "one"), (2, "")])
        office.until(lambda: "2" in office.letters, "a letter")
        office.write([(1, "one")])
        office.until(lambda: not office.letters, "closed")
    office.producer.close()


def test_each_row_that_cannot_be_split_is_a_letter_that_names_its_line(office: Office) -> None:
    path = office.folder / "list.csv"
    path.write_text('No,Name\n1,one\n2,"t"wo\n3,three\n4,"f"our\n5,"f"ive\n4,"f"our\n')
    office.until(lambda: len(office.live) == 2 and bool(office.letters), "read")
    assert sorted(words.partition("(line")[2][:2].strip() for words in office.letters.values()) == ["3", "5", "6"]
    path.write_text('No,Name\n1,one\n2,two\n3,three\n4,four\n5,five\n4,"f"our\n')
    office.until(lambda: len(office.live) == 5, "corrected but for one")
    office.until(lambda: ["line 7" in words for words in office.letters.values()] == [True], "where it is now")


def test_a_header_that_was_sorted_in_among_the_rows_deletes_none_of_them(office: Office) -> None:
    path = office.write(many(40))
    office.until(lambda: len(office.live) == 40, "read")
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join(["A title,", *lines[:2], header, *lines[2:30]]) + "\n")
    office.until(lambda: {"1", "2"} <= office.letters.keys(), "told")
    assert "row 2 is above the header, which is in row 4" in office.letters["1"]
    office.looks(20)
    assert len(office.live) == 40
    assert office.letters.keys() == {"1", "2"}
    path.write_text("\n".join(["A title,", header, *lines]) + "\n")
    office.until(lambda: not office.letters, "closed")


@pytest.mark.parametrize("title", [("Customers", ""), (7, ""), (7, "name 7")])
def test_titles_above_a_header_are_none_of_the_rows(office: Office, title: tuple[object, object]) -> None:
    office.write(many(20))
    office.until(lambda: len(office.live) == 20, "read")
    with (office.folder / "list.csv").open("w", newline="") as opened:
        csv.writer(opened).writerows([title, ("No", "Name"), *many(19)])
    office.until(lambda: len(office.live) == 19, "deleted")
    assert not office.letters


NOTES = {"1": "hello", "2": "world"}


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("No,name,remark", "no column 'note'"),
        ("No,name,", "no column 'note'"),
        ("No,note,note", "no column 'name'"),
        ("No,name,note,Note", ""),
        ("No,name,note,note", "two columns called 'note' (C and D)"),
        ("No,name,NOTE,Note", "two columns called 'note' (C and D)"),
        ("No,name,note,note,note", "3 columns called 'note'"),
    ],
)
@pytest.mark.parametrize("restarts", [False, True])
def test_a_column_that_fills_the_field_of_its_name_is_missed(
    tmp_path: Path, header: str, told: str, restarts: bool
) -> None:
    office = Office(tmp_path, is_mapped=False)
    path = tmp_path / "list.csv"
    path.write_text("No,name,note\n1,one,hello\n2,two,world\n")
    office.until(lambda: len(office.live) == 2, "read")
    office.looks()
    if restarts:
        office.producer.close()
        office.start(position=office.position)
    path.write_text(f"{header}\n1,one,hello\n2,two,world\n")
    if told:
        office.until(lambda: bool(office.problems), "told")
        assert told in office.problems[0]
    office.looks(20)
    assert office.notes == NOTES
    path.write_text("No,name,note,more\n1,one,hello\n2,two,again\n")
    office.until(lambda: office.notes["2"] == "again" and office.producer.problem is None, "corrected")
    office.producer.close()


@pytest.mark.parametrize("restarts", [False, True])
def test_each_file_misses_the_columns_that_it_had(tmp_path: Path, restarts: bool) -> None:
    office = Office(tmp_path, is_mapped=False, file="list-*.csv")
    (tmp_path / "list-1.csv").write_text("No,name,note\n1,one,hello\n")
    (tmp_path / "list-2.csv").write_text("No,name\n2,two\n")
    office.until(lambda: office.notes == {"1": "hello", "2": None}, "read")
    office.looks()
    if restarts:
        office.producer.close()
        office.start(position=office.position)
    (tmp_path / "list-2.csv").write_text("No,name\n2,again\n")
    office.until(lambda: office.live["2"] == "again", "read again")
    (tmp_path / "list-3.csv").write_text("No,name,note\n3,three,\n")
    office.until(lambda: "3" in office.live, "a new file")
    assert not office.problems
    (tmp_path / "list-1.csv").write_text("No,name,remark\n1,one,hello\n")
    office.until(lambda: bool(office.problems), "told")
    (tmp_path / "list-4.csv").write_text("No,title\n4,four\n")
    office.until(lambda: "list-4.csv has no column 'name'" in office.problems[-1], "told of a new file")
    assert office.notes["1"] == "hello"
    office.producer.close()


def test_a_restart_publishes_only_what_has_changed(office: Office) -> None:
    office.write(many(5))
    office.until(lambda: len(office.live) == 5, "read")
    office.producer.close()
    before = office.events
    office.start()
    office.until(lambda: office.events == before + 5, "without memory all of it")
    office.producer.close()


def test_rows_that_people_sort_are_no_changes(tmp_path: Path) -> None:
    office = Office(tmp_path, file="list.xlsx")
    for order in (1, -1):
        book = openpyxl.Workbook()
        sheet = book.active
        assert sheet is not None
        sheet.append(["Name", "No"])
        for number, name in many(30)[::order]:
            sheet.append([name, number])
        book.save(tmp_path / "new.tmp")
        (tmp_path / "new.tmp").replace(tmp_path / "list.xlsx")
        office.until(lambda: len(office.live) == 30, "read")
        office.looks(10)
    assert office.events == 30
    office.producer.close()


def test_a_large_sheet_gives_the_loop_its_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sorbus.producers.spreadsheet.producer._SLICE", 0.0)
    office = Office(tmp_path)
    office.write(many(3000))
    turns = 0
    while len(office.live) < 3000:
        office.step()
        turns += 1
    assert turns > 6
    office.producer.close()
