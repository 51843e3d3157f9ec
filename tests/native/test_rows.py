"""The C way of a row is Python's: the same bytes for what it takes, and Python's word for all else."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import adapters

from sorbus import native
from sorbus.connector import BoundSource, Change
from sorbus.errors import PermanentError, SorbusError
from sorbus.mapfile.model import DataType, FieldMapping
from sorbus.mapping.assign import Assignment
from sorbus.mapping.rule import compile_rule
from sorbus.native import codec
from sorbus.postgres.catalog import Column, Table
from sorbus.producers.postgres.capture import Capture
from sorbus.producers.postgres.collect import Collector, Taken
from sorbus.producers.postgres.layout import RowLayout
from sorbus.producers.postgres.options import PostgresSource
from sorbus.producers.postgres.position import PostgresPosition
from sorbus.producers.postgres.table_snapshot import split_line
from sorbus.schema import AvroType, parse_schema
from tests.conftest import Report
from tests.producers.postgres import wire
from tests.producers.postgres.test_fuzz_rows import CELLS, KINDS
from tests.search import examples

SECONDS = float(os.environ.get("SORBUS_FUZZ_SECONDS", "2")) / 2
SEED = os.environ.get("SORBUS_FUZZ_SEED", "1")
ROW = FieldMapping(file=Path("sheet.csv"), line=2, source_system="crm", target_system="canonical",
                   source_field="t.value", target_field="person.first", rule="", notes="")  # fmt: skip
OIDS = sorted({one.oid for one in adapters.types} | {790, 1042, 2278, 99_999})
CENTS: AvroType = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
MOMENT: AvroType = {"type": "long", "logicalType": "timestamp-micros"}
DAY: AvroType = {"type": "int", "logicalType": "date"}
UUID: AvroType = {"type": "string", "logicalType": "uuid"}
USUAL: list[tuple[int, AvroType, list[str]]] = [
    (25, "string", ["", "a", "Zoë", "x" * 5000]),
    (1043, "string", ["a"]),
    (3802, "string", ['{"a": 1}']),
    (2950, UUID, ["6ba7b810-9dad-11d1-80b4-00c04fd430c8"]),
    (23, "int", ["0", "-1", "2147483647", "-2147483648"]),
    (20, "long", ["1", "-4096", "999999999999999999"]),
    (21, "long", ["7"]),
    (1700, CENTS, ["0.00", "-0.01", "12.50", "12", "12.5", "9999999999.99", "-9999999999.99", "1.28", "-1.28"]),
    (23, CENTS, ["12"]),
    (1700, {**CENTS, "scale": 0}, ["128", "-129"]),  # type: ignore[dict-item]
    (16, "boolean", ["t", "f"]),
    (1184, MOMENT, ["2026-11-29 20:12:33.123456+00", "1969-12-31 23:59:59.5-03:30", "2024-02-29 00:00:00+15:59:59"]),
    (1082, DAY, ["2026-11-29", "1900-03-01", "0002-01-01", "9998-12-31"]),
    (17, "bytes", ["\\x", "\\x00ff"]),
]

pytestmark = pytest.mark.skipif(bool(native.absence), reason=f"sorbus.native is {native.absence}")


def layout_of(kind: AvroType, oid: int, *, nullable: bool = False) -> RowLayout:
    fields: list[AvroType] = [{"name": "first", "type": ["null", kind] if nullable else kind}]
    schema = parse_schema({"type": "record", "name": "person", "fields": fields})
    return RowLayout(schema.fields, [Assignment("first", "value", None, ROW)], {"value": oid})


def by_python(layout: RowLayout, row: Sequence[bytes | None]) -> bytes | None:
    try:
        return b"".join(layout.encode(row))
    except PermanentError:
        return None


def agrees(layout: RowLayout, row: list[bytes | None]) -> bool:
    """Whether the C way took the row; what it gave must be Python's."""
    encoder = layout.native("person", 0)
    assert encoder is not None
    made = encoder.encode(row)
    if made is not None:
        assert made == by_python(layout, row), row
    return made is not None


@pytest.mark.parametrize(("oid", "kind", "texts"), USUAL, ids=[f"{oid}-{kind}" for oid, kind, _ in USUAL])
def test_what_is_usual_is_not_handed_back(oid: int, kind: AvroType, texts: list[str]) -> None:
    for nullable in (False, True):
        layout = layout_of(kind, oid, nullable=nullable)
        assert all(agrees(layout, [text.encode()]) for text in texts)
        assert agrees(layout, [None]) is nullable


def test_odd_values_of_every_type_are_python_s(report: Report) -> None:
    chance, taken, tried = random.Random(SEED), 0, 0
    usual = [text.encode() for _, _, texts in USUAL for text in texts]
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        layout = layout_of(chance.choice(KINDS), chance.choice(OIDS), nullable=chance.random() < 0.5)
        for cell in [*CELLS, *usual, *(changed(chance, text) for text in usual for _ in range(4))]:
            tried += 1
            taken += agrees(layout, [cell])
    assert 0 < taken < tried
    report(f"{tried} odd values of seed {SEED}, {taken} taken in C")


def changed(chance: random.Random, text: bytes) -> bytes:
    """A text with one of its bytes gone, another one, or doubled."""
    place = chance.randrange(len(text) + 1)
    more = bytes([chance.choice(b"0123456789-+.: eE_TBC\x00\xc3")])
    return text[:place] + chance.choice([b"", more, more * 2]) + text[place + chance.choice([0, 1]) :]


DIGITS = st.text("0123456789", max_size=22)
NUMBERS = st.tuples(st.sampled_from(["", "-", "+"]), DIGITS, st.sampled_from(["", "."]), DIGITS).map("".join)
YEARS = st.sampled_from(["0000", "0001", "0002", "1582", "1969", "2024", "9998", "9999", "12026", "202"])
PARTS = st.sampled_from(["00", "01", "02", "12", "13", "23", "24", "28", "29", "30", "31", "59", "60", "1", "-1", "1a"])
ZONES = st.sampled_from(["", "Z", "+00", "-03:30", "+15:59:59", "+16", "+0530", "-15:59:60", "+5", " +00"])
TIMES = st.tuples(
    *(YEARS, st.just("-"), PARTS, st.just("-"), PARTS, st.sampled_from([" ", "T"])),
    *(PARTS, st.just(":"), PARTS, st.just(":"), PARTS, st.sampled_from(["", ".", ".5", ".123456", ".1234567"]), ZONES),
).map("".join)


@pytest.mark.search
@settings(max_examples=examples(3000), deadline=None)
@given(NUMBERS, st.integers(1, 40), st.integers(0, 20))
def test_numbers_are_python_s(text: str, precision: int, scale: int) -> None:
    kind: AvroType = {**CENTS, "precision": precision, "scale": min(precision, scale)}  # type: ignore[dict-item]
    for each, oid in ((kind, 1700), ("int", 23), ("long", 20)):
        agrees(layout_of(each, oid), [text.encode()])


@pytest.mark.search
@settings(max_examples=examples(3000), deadline=None)
@given(TIMES)
def test_times_are_python_s(text: str) -> None:
    agrees(layout_of(MOMENT, 1184), [text.encode()])
    agrees(layout_of(DAY, 1082), [text[:10].encode()])


def test_rules_constants_and_what_c_does_not_know_are_made_by_python() -> None:
    fields: list[AvroType] = [
        {"name": "a", "type": "long"},
        {"name": "b", "type": ["null", "string"], "default": None},
        {"name": "c", "type": "double"},
        {"name": "d", "type": "string"},
    ]
    schema = parse_schema({"type": "record", "name": "person", "fields": fields})
    assigned = [
        Assignment("a", "n", None, ROW),
        Assignment("c", "x", None, ROW),
        Assignment("d", "s", compile_rule("value | upper", lookups={}), ROW),
    ]
    layout = RowLayout(schema.fields, assigned, {"n": 20, "x": 701, "s": 25, "other": 25})
    assert agrees(layout, [b"1", b"2.5", b"abc", b"\xff"])
    assert not agrees(layout, [b"1", b"no number", b"abc", None])
    assert not agrees(layout, [b"1", b"2.5", b"abc"])


def pair(columns: dict[str, int], key: str, rule: str = "", done: int = 0) -> tuple[Collector, Collector]:
    """Two collectors of one table `people` with a field for each column, `done` rows into a transaction."""
    kinds: dict[int, AvroType] = {20: "long", 25: "string", 1700: CENTS, 1184: MOMENT}
    fields: list[AvroType] = [{"name": name, "type": ["null", kinds[oid]]} for name, oid in columns.items()]
    schema = parse_schema({"type": "record", "name": "person", "fields": fields})
    sheet = [
        FieldMapping(file=Path("s"), line=n, source_system="crm", source_field=f"people.{name}", notes="",
                     target_system="canonical", target_field=f"person.{name}", rule=rule if oid == 25 else "")
        for n, (name, oid) in enumerate(columns.items())
    ]  # fmt: skip
    known = {
        name: Column(name, oid, "text", "b", "S", 0, name in key, False, oid, "text") for name, oid in columns.items()
    }
    source = BoundSource("person", DataType(system_of_record="crm"), schema, tuple(sheet if rule else ()),
                         PostgresSource(table="people", key=key.split()))  # fmt: skip
    made = []
    for _ in range(2):
        capture = Capture(source, Table(TABLE, "public.people", known), ())
        state = PostgresPosition("here", 900, 901, copied=("person",), transaction=1100, done=done)
        made.append(Collector([capture], state, lambda _, keys, *rest: ((key, None) for key in keys)))
        made[-1].feed(wire.relation(TABLE, "public", "people", [(n, oid, n in key) for n, oid in columns.items()]))
    return made[0], made[1]


TABLE = 7001
COLUMNS = {"id": 20, "name": 25, "credit": 1700, "at": 1184}


def collected(found: Collector, messages: Sequence[bytes], *, in_c: bool) -> list[Taken | str]:
    """What a collector gives for messages, taken whenever it is full."""
    frames, at, out = [b"w" + bytes(24) + each for each in messages], 0, list[Taken | str]()
    while at < len(frames):
        if found.is_full:
            out.append(found.take())
        if in_c and (after := found.feed_rows(frames, at)) != at:
            at = after
            continue
        try:
            if not found.feed(frames[at][25:]):
                out.append(found.take())
                continue
        except SorbusError as error:
            return [*out, str(error)]
        at += 1
    return [*out, found.take(), repr(found.state)]


def as_told(given: list[Taken | str]) -> str:
    """Changes and rejects as text, but for the time that a fault was found."""
    return repr([(each.changes, [repr(one) for one in each.rejects], *each[2:]) if isinstance(each, Taken) else each
                 for each in given])  # fmt: skip


@pytest.mark.parametrize(("key", "rule"), [("id", ""), ("name", ""), ("id name", ""), ("id", "value | upper")])
def test_a_stream_is_collected_the_same(key: str, rule: str, report: Report) -> None:
    chance, rows = random.Random(SEED), 0
    until = time.monotonic() + SECONDS / 4
    while time.monotonic() < until:
        first, second = pair(COLUMNS, key, rule, done=chance.choice([0, 0, 3]))
        messages, lsn = list[bytes](), 1000
        for _ in range(chance.randint(1, 4)):
            lsn += 100
            messages += [wire.begin(lsn, 0, 7), *(odd_row(chance) for _ in range(chance.randint(0, 30)))]
            messages.append(wire.commit(lsn, lsn + 5, 0))
        rows += len(messages)
        assert as_told(collected(first, messages, in_c=True)) == as_told(collected(second, messages, in_c=False))
    report(f"{rows} messages of seed {SEED}, key {key}, rule {rule or 'none'}")


def odd_row(chance: random.Random) -> bytes:
    def cell(*usual: bytes) -> wire.Cell:
        return chance.choice([*usual, *usual, *usual, chance.choice([None, b"", b"x", b"\xff", b"1" * 30, "u"])])

    row = [
        cell(b"1", b"2", b"77", b"123456789"),
        cell(b"Anna", "Zoë".encode(), b"a:b"),
        cell(b"12.50", b"-0.01"),
        cell(b"2026-11-29 20:12:33.123456+00"),
    ]
    made = [wire.insert(TABLE, row)] * 6 + [wire.update(TABLE, row)] * 6
    made += [
        wire.update(TABLE, row, row[:1]),
        wire.delete(TABLE, row),
        wire.insert(1, row),
        wire.insert(TABLE, row[:3]),
    ]
    message = chance.choice(made)
    draw = chance.random()
    if draw < 0.004:
        return message[: chance.randint(1, len(message))]
    if draw < 0.008:
        place = chance.randrange(len(message))
        return message[:place] + chance.randbytes(1) + message[place + 1 :]
    return message


def test_usual_rows_go_through_c_up_to_the_batch_s_end() -> None:
    found, _ = pair(COLUMNS, "id")
    rows = [wire.insert(TABLE, [b"%d" % n, b"Anna", None, b"2026-11-29 20:12:33+00"]) for n in range(6000)]
    frames = [b"w" + bytes(24) + each for each in rows]
    found.feed(wire.begin(2000, 5, 7))
    assert found.feed_rows(frames, 0) == 5000
    assert found.is_full
    changes = found.take().changes
    assert (changes[0].id, changes[0].version, changes[4999].version) == (b"0", 2000, 6999)
    assert type(changes[0]) is Change
    assert found.feed_rows(frames, 5000) == 6000
    assert found.state.done == 5000
    found.take()
    assert found.state.done == 6000


def test_lines_of_a_copy_are_read_the_same(report: Report) -> None:
    chance, tried, taken = random.Random(SEED), 0, 0
    found, _ = pair(COLUMNS, "id")
    (readers,) = found._readers.direct.values()
    capture, until = readers.capture, time.monotonic() + SECONDS / 2
    encoder = capture.native_copy(list(COLUMNS))
    assert encoder is not None
    while time.monotonic() < until:
        lines = [odd_line(chance) for _ in range(30)]
        at = 0
        while at < len(lines):
            tried, made = tried + 1, list[Change]()
            after = encoder.take_lines(lines, at, made, 9, 5)
            assert len(made) == after - at
            for line, change in zip(lines[at:after], made, strict=True):
                row = split_line(line)
                assert change == capture.make(capture.layout("", COLUMNS), COLUMNS, row, row[0] or b"", 9, 5), line
                assert type(change) is Change
            taken += after - at
            at = after + 1
    assert 0 < tried < taken
    report(f"{taken} lines of seed {SEED} taken in C, {tried} handed back")


def odd_line(chance: random.Random) -> bytes:
    def text() -> bytes:
        parts = [b"a", "Zoë".encode(), b"\\\\", b"\\t", b"\\n", b"\\N", b"\\.", b"\\b\\f\\r\\v", b" ", b"x" * 300]
        return b"".join(chance.choices(parts, k=chance.choice([0, 1, 1, 2, 5])))

    cells = [b"%d" % chance.randrange(10**6), text(), chance.choice([b"\\N", b"1.50"]), b"2026-11-29 20:12:33+00"]
    line = b"\t".join(cells) + b"\n"
    if chance.random() < 0.1:
        place = chance.randrange(len(line))
        return line[:place] + chance.choice([b"", b"\\", b"\t", b"\xff", b"\n", b"\0"]) + line[place + 1 :]
    return line


def test_what_can_not_be_a_plan_is_refused() -> None:
    usual = ("text", 0, True, 0, 0, b"")
    codec.RowEncoder("t", Change, 1, 0, (usual,), None, ())
    for fields in ((("none", 0, True, 0, 0, b""),), (("text", 1, True, 0, 0, b""),), (("text", -1, True, 0, 0, b""),)):
        with pytest.raises(ValueError):
            codec.RowEncoder("t", Change, 1, 0, fields, None, ())
    for key, needed in ((1, ()), (-1, ()), (0, (1,)), (0, (-1,))):
        with pytest.raises(ValueError):
            codec.RowEncoder("t", Change, 1, key, (usual,), None, needed)
    with pytest.raises(ValueError):
        codec.RowEncoder("t", Change, 0, 0, (), None, ())
    with pytest.raises((TypeError, ValueError)):
        codec.RowEncoder("t", str, 1, 0, (usual,), None, ())  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        codec.CellEncoder(b"", (("none", True, -1, 0, ()),), ())
    for fields in ((), (1,), (-1,), (0,) * 33):
        with pytest.raises(ValueError):
            codec.CellEncoder(b"", (("skip long", False, -1, 0, ()),), ((len, False, fields, False),))
