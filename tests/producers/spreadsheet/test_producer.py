"""What a producer makes of files that people shorten, sort, rename and break."""

from __future__ import annotations

import csv
from pathlib import Path

import openpyxl
import pytest

from sorbus.abilities import PublishedState
from sorbus.conformance.sample_type import NAME
from sorbus.drift.watch import DriftWatch
from sorbus.errors import LostPosition
from tests.producers.spreadsheet.office import Office, many


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


def test_what_is_asked_for_is_published_again_although_no_file_has_changed(office: Office) -> None:
    office.write([*many(3), ("4", "x"), ("4", "y")])
    office.until(lambda: len(office.live) == 3 and "4" in office.letters, "read")
    office.looks()
    seen = office.events
    office.letters.clear()
    office.producer.reread(NAME, [b"2", b"4", b"never there"])
    office.until(lambda: office.events == seen + 2 and "4" in office.letters, "a state, a delete and a letter")
    office.looks()
    assert office.events == seen + 2
    assert office.live["2"] == "name 2"


def test_who_keeps_records_of_removed_rows_gets_no_delete_of_what_is_asked_for(tmp_path: Path) -> None:
    office = Office(tmp_path, removed_rows="keep")
    office.write(many(3))
    office.until(lambda: len(office.live) == 3, "read")
    office.producer.reread(NAME, [b"2", b"never there"])
    office.until(lambda: office.events == 4, "a state")
    office.looks()
    assert office.events == 4
    office.producer.close()


def test_another_key_never_leaves_each_record_there_twice(tmp_path: Path) -> None:
    office = Office(tmp_path, removed_rows="keep")
    office.write([(1, "one"), (2, "two")])
    office.until(lambda: len(office.live) == 2, "read")
    office.producer.close()
    published = [PublishedState(id.encode(), 1, 1, b"") for id in office.live]
    office._options = office._options.model_copy(update={"key": ("Name",)})
    with pytest.raises(LostPosition, match=r"published by the key No.*`removed_rows: delete`"):
        office.start(*published, position=office.position)
    office._options = office._options.model_copy(update={"removed_rows": "delete", "max_deletes": 2})
    office.start(*published, position=office.position)
    office.until(lambda: office.live.keys() == {"one", "two"}, "those with the former ids are deleted")
