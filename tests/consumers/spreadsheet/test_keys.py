"""A row belongs to one record, whatever the order in which keys change hands, and nobody else's row is touched."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sorbus.consumers.spreadsheet.consumer import SpreadsheetConsumer
from sorbus.consumers.written_versions import WrittenSession
from sorbus.mapping.record_filter import RecordFilter
from tests.consumers.spreadsheet.office import Office, make

D = Decimal
KEYED = [("name", "No", ""), ("amount", "Price", "")]
BY_ID = [("name", "Name", ""), ("amount", "Price", "")]
FILES = ["k.xlsx", "k.csv"]
Record = dict[str, object] | None


@pytest.fixture(autouse=True)
def state(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SORBUS_DATABASE", database)


def keys(office: Office) -> list[str]:
    return sorted(str(row[0]) for row in office.cells()[1:] if row[0])


def article(key: str, price: int = 1) -> Record:
    return {"name": key, "amount": D(price)}


def desk(folder: Path, file: str = "k.csv", mapping: list[tuple[str, str, str]] = KEYED, **options: str) -> Office:
    office = Office(folder, file, mapping, **options)
    office.prepare()
    return office


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize(
    ("before", "batch", "after"),
    [
        ({"a": "K1"}, {"a": "K2", "b": "K1"}, {"K1", "K2"}),
        ({"a": "K1"}, {"a": None, "b": "K1"}, {"K1"}),
        ({"a": "K1", "b": "K2"}, {"a": None, "b": "K1"}, {"K1"}),
        ({"a": "K1", "b": "K2", "c": "K3"}, {"a": "K2", "b": "K3", "c": "K1"}, {"K1", "K2", "K3"}),
        ({"a": "K1", "b": "K2"}, {"a": "K2", "b": None, "c": "K1"}, {"K1", "K2"}),
    ],
)
def test_a_key_changes_hands_within_a_batch(
    tmp_path: Path,
    file: str,
    before: dict[str, str],
    batch: dict[str, str | None],
    after: set[str],
    *,
    is_reversed: bool,
) -> None:
    office = desk(tmp_path, file)
    assert office.deliver({id: article(key) for id, key in before.items()}) == []
    steps = [(id, None if key is None else article(key)) for id, key in batch.items()]
    assert office.deliver(dict(reversed(steps) if is_reversed else steps)) == []
    assert keys(office) == sorted(after)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(
    ("field", "key", "style"),
    [
        ("name", "\tA100", {}),
        ("name", "\t=A100", {}),
        ("name", "=A100", {}),
        ("name", "'=A100", {}),
        ("name", "'-5", {}),
        ("name", "00123", {}),
        ("count", 12345, {"decimals": "1.234,56"}),
        ("count", -12345, {"decimals": "1'234.56"}),
        ("amount", D("1.5"), {"decimals": "1.234,56"}),
        ("made_on", date(2026, 1, 2), {"dates": "%d.%m.%Y"}),
        ("active", True, {}),
    ],
)
def test_a_key_of_any_kind_and_style_is_found_again(
    tmp_path: Path, file: str, field: str, key: object, style: dict[str, str]
) -> None:
    office = desk(tmp_path, file, [(field, "No", ""), ("note", "Price", "")], **style if file == "k.csv" else {})
    for note in "12":
        assert office.deliver({"a": {"name": "x", field: key, "note": note}}) == []
    assert [row[1] for row in office.cells()[1:]] == ["2"]
    assert office.deliver({"a": None}) == []
    assert not any(cell for row in office.cells()[1:] for cell in row)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("micros", [0, 499, 678_901, 999_999])
def test_a_key_that_is_a_point_in_time_is_found_again(tmp_path: Path, file: str, micros: int) -> None:
    office = desk(tmp_path, file, [("seen_at", "No", ""), ("note", "Price", "")], time_zone="Europe/Zurich")
    at = datetime(2026, 1, 2, 3, 4, 59, micros, UTC)
    for note in "12":
        assert office.deliver({"a": {"name": "x", "seen_at": at, "note": note}}) == []
    assert [row[1] for row in office.cells()[1:]] == ["2"]


@pytest.mark.parametrize("id", ["=A", "'=A", "@A", "+A"])
def test_an_id_that_looks_like_a_formula_is_found_again(tmp_path: Path, id: str) -> None:
    office = desk(tmp_path, mapping=BY_ID)
    for price in (1, 2):
        assert office.deliver({id: article("x", price)}) == []
    assert [row[2] for row in office.cells()[1:]] == ["2"]


def crash_after_the_file(office: Office, records: dict[str, Record]) -> None:
    """The file is replaced, and the state doesn't know it yet."""
    with pytest.MonkeyPatch.context() as patched, contextlib.suppress(ConnectionError):
        patched.setattr(WrittenSession, "put", lambda *_: (_ for _ in ()).throw(ConnectionError))
        office.deliver(records)


_counter = itertools.count()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["K1", "K2", "K3", None]), min_size=1),
        min_size=2,
        max_size=5,
    ),
    st.sampled_from(["csv", "xlsx"]),
    st.booleans(),
)
def test_whatever_the_batches_each_record_has_its_row(
    tmp_path: Path, batches: list[dict[str, str | None]], suffix: str, crashes: bool
) -> None:
    """A record is refused only where another has its key after the batch, and then keeps what it had."""
    office = desk(tmp_path, f"k{next(_counter)}.{suffix}")
    model: dict[str, tuple[str, int]] = {}
    for number, batch in enumerate(batches, 1):
        prices = {id: number * 10 + place for place, id in enumerate(batch)}
        records = {id: None if key is None else article(key, prices[id]) for id, key in batch.items()}
        if crashes:
            crash_after_the_file(office, records)
        refused = office.deliver(records)
        wrong = {list(batch)[one.place] for one in refused}
        for id, key in batch.items():
            if id in wrong:
                continue
            model.pop(id, None)
            if key is not None:
                model[id] = key, prices[id]
        for id in wrong:
            assert batch[id] in {key for other, (key, _) in model.items() if other != id}
        found = [(str(row[0]), int(str(row[1]))) for row in office.cells()[1:] if row[0]]
        assert sorted(found) == sorted(model.values())


def test_a_record_that_is_refused_keeps_its_key(tmp_path: Path) -> None:
    office = Office(tmp_path, "k.csv", KEYED)
    office.path.write_bytes("No;Price\r\nM\xfcller;\r\n".encode("cp1252"))
    office.prepare()
    assert office.deliver({"a": article("K1"), "c": article("K3")}) == []
    refused = office.deliver({"a": article("Ł"), "b": article("K1"), "d": article("K4")})
    assert [one.place for one in refused] == [0, 1]
    assert "belongs to the row of another record, a" in str(refused[1].error)
    assert office.path.read_text("cp1252").split("\n")[2:] == ["K1;1", "K3;1", "K4;1", ""]


@pytest.mark.parametrize("deletes", ["soft", "ignore"])
@pytest.mark.parametrize("batches", [[{"a": None, "b": "K1"}], [{"a": None}, {"b": "K1"}]])
def test_a_row_that_a_delete_leaves_keeps_its_key(
    tmp_path: Path, deletes: str, batches: list[dict[str, str | None]]
) -> None:
    office = desk(tmp_path, deletes=deletes)
    office.deliver({"a": article("K1")})
    for batch in batches:
        refused = office.deliver({id: None if key is None else article(key) for id, key in batch.items()})
    assert ["belongs to the row of another record, a" in str(one.error) for one in refused] == [True]
    assert keys(office) == ["K1"]


@pytest.mark.parametrize("deletes", ["hard", "soft"])
def test_a_record_that_was_never_written_has_no_row(tmp_path: Path, deletes: str) -> None:
    """Record 99 has the article number 17, and record 17 was never in the sheet."""
    office = desk(tmp_path, deletes=deletes)
    assert office.deliver({"99": article("17")}) == []
    before = office.path.read_bytes()
    consumer = SpreadsheetConsumer(office.flow)
    assert consumer.preview(make("17", 9, None)).action == "nothing"
    assert consumer.look("17") is None
    assert consumer.erase("17") == (0, "")
    assert office.deliver({"17": None}) == []
    assert office.path.read_bytes() == before


def test_a_record_outside_of_where_takes_no_other_records_row(tmp_path: Path) -> None:
    office = desk(tmp_path)
    office.flow = replace(office.flow, flow=office.flow.flow.model_copy(update={"where": "amount > 0"}))
    given = [make("99", 1, article("17")), make("17", 2, article("55", -1))]
    passed = [RecordFilter(office.flow).apply(one).delivery for one in given]
    assert SpreadsheetConsumer(office.flow).apply([one for one in passed if one is not None]) == []
    assert keys(office) == ["17"]


def test_a_delete_that_is_repeated_takes_nothing_of_the_keys_new_record(tmp_path: Path) -> None:
    office = desk(tmp_path)
    for batch in ({"K1": article("K1")}, {"K1": None}, {"b": article("K1", 2)}, {"K1": None}):
        assert office.deliver(batch) == []
    assert keys(office) == ["K1"]


def test_where_the_key_is_the_id_a_delete_finds_the_row_without_the_state(tmp_path: Path) -> None:
    office = Office(tmp_path, "k.csv", BY_ID)
    office.path.write_text("No;Name;Price\n17;old;1\n18;other;1\n")
    office.prepare()
    assert office.deliver({"17": None}) == []
    assert keys(office) == ["18"]


@pytest.mark.parametrize("file", FILES)
def test_a_key_that_moves_onto_a_persons_row_is_a_dead_letter(tmp_path: Path, file: str) -> None:
    office = desk(tmp_path, file)
    assert office.deliver({"a": article("K1")}) == []
    office.write_below("K2", 7)
    (refused,) = office.deliver({"a": article("K2", 10), "b": article("K3")})
    assert "row, 2, with its former key K1, and row 3" in str(refused.error)
    assert keys(office) == ["K1", "K2", "K3"]
    assert SpreadsheetConsumer(office.flow).preview(make("a", 9, article("K2"))).action == "refuse"


@pytest.mark.parametrize("record", [{"name": "ONE", "amount": D(1)}, None])
@pytest.mark.parametrize(
    ("key", "saved"),
    [("00123", "123"), ("1.50", "1.5"), ("9783161484100", "9.78316E+12"), ("1234567890123456789", "1,23457E+18")],
)
def test_a_key_that_a_program_has_taken_for_a_number_is_a_dead_letter(
    tmp_path: Path, key: str, saved: str, record: Record
) -> None:
    office = desk(tmp_path, mapping=BY_ID)
    assert office.deliver({key: {"name": "one"}, "x": {"name": "two"}}) == []
    text = office.path.read_text("utf-8-sig").replace(key, saved)
    office.path.write_text(text, "utf-8-sig")
    (refused,) = office.deliver({key: record})
    assert f"it has {saved} (row 2)" in str(refused.error)
    assert office.path.read_text("utf-8-sig") == text
    assert f"{saved} (row 2)" in SpreadsheetConsumer(office.flow).erase(key).left


def test_two_records_whose_keys_differ_by_zeros_have_a_row_each(tmp_path: Path) -> None:
    office = desk(tmp_path, mapping=BY_ID)
    assert office.deliver({"00123": {"name": "one"}, "123": {"name": "two"}}) == []
    office.path.write_text(office.path.read_text("utf-8-sig").replace("00123;one;\n", ""), "utf-8-sig")
    assert office.deliver({"00123": {"name": "ONE"}, "0123": {"name": "new"}}) == []
    assert keys(office) == ["00123", "0123", "123"]


def test_a_key_cell_without_a_value_that_counts_is_a_dead_letter_only_for_a_record_without_a_row(
    tmp_path: Path,
) -> None:
    office = desk(tmp_path, "k.xlsx", BY_ID)
    office.deliver({"1234567890123456": {"name": "one"}, "2": {"name": "two"}})
    office.change("A2", 1234567890123456)
    (refused,) = office.deliver({"1234567890123456": {"name": "ONE"}, "2": {"name": "TWO"}, "3": {"name": "three"}})
    assert "row 2, column A (No) holds a number of more than 15 digits" in str(refused.error)
    assert [row[1] for row in office.cells()[1:]] == ["one", "TWO", "three"]
