"""Events written and read in C are Python's, and so are rows for COPY: the same bytes, or Python's word."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from struct import pack, unpack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sorbus import native
from sorbus.avro.encode import encoder
from sorbus.consumers.postgres.cells import NULL, cell_reader, native_read, native_skip, row_start
from sorbus.consumers.postgres.shape import TableShape
from sorbus.consumers.postgres.staging import take_apart
from sorbus.event import data_at, event_encoder, occurred_at, open_frame, read_head
from sorbus.mapping.assign import Assignment
from sorbus.mapping.rule import Rule, compile_rule
from sorbus.native import codec
from sorbus.postgres.catalog import Column
from sorbus.schema import FieldType, RecordSchema, SchemaField, parse_schema
from tests.avro.shapes import Example
from tests.avro.shapes import examples as records
from tests.conftest import Report
from tests.search import examples

SECONDS = float(os.environ.get("SORBUS_FUZZ_SECONDS", "2")) / 2
SEED = os.environ.get("SORBUS_FUZZ_SEED", "1")
LONGS = st.integers(-(1 << 63), (1 << 63) - 1)
TYPES = {"text": 25, "character varying(5)": 1043, "json": 114, "jsonb": 3802, "uuid": 2950, "bigint": 20,
         "integer": 23, "double precision": 701, "boolean": 16, "bytea": 17, "numeric": 1700, "numeric(12,1)": 1700,
         "timestamp with time zone": 1184, "date": 1082}  # fmt: skip

pytestmark = pytest.mark.skipif(bool(native.absence), reason=f"sorbus.native is {native.absence}")


CELLS = st.lists(st.none() | st.binary(max_size=30), min_size=3, max_size=3)


@settings(max_examples=examples(1500), deadline=None)
@given(st.lists(CELLS, max_size=20), st.binary(max_size=9))
def test_rows_are_taken_apart_as_python_does(rows: list[list[bytes | None]], cut: bytes) -> None:
    cells = [[NULL if cell is None else pack(">i", len(cell)) + cell for cell in row] for row in rows]
    packed = [row_start(3) + b"".join(row) for row in cells]
    oids = (25, 1700, 2**32 - 1)
    found = codec.arrays(packed, oids)
    assert found == take_apart(packed, oids)
    for oid, array, column in zip(oids, found or (), zip(*rows, strict=True) if rows else ([], [], []), strict=True):
        assert loaded(array) == (oid, list(column))
    short = packed[0][: len(cut)] if packed and len(cut) < len(packed[0]) else b""
    assert codec.arrays([*packed, short], oids) is None, "a row that is cut short is handed back"


def loaded(array: bytes) -> tuple[int, list[bytes | None]]:
    """A binary array as PostgreSQL reads it: `array_recv` in its source, arrayfuncs.c."""
    dimensions, has_null, oid, count, lower = unpack(">iiIii", array[:20])
    assert (dimensions, lower) == (1, 1)
    at, cells = 20, list[bytes | None]()
    for _ in range(count):
        (size,) = unpack(">i", array[at : at + 4])
        cells.append(None if size < 0 else array[at + 4 : at + 4 + size])
        at += 4 + max(0, size)
    assert at == len(array)
    assert bool(has_null) == (None in cells)
    return oid, cells


@settings(max_examples=examples(1500), deadline=None)
@given(
    st.binary(max_size=200),
    LONGS | st.integers(),
    LONGS | st.integers(),
    LONGS | st.integers(),
    st.none() | st.binary(max_size=50),
    st.sampled_from([b"\0\0\0\0\7", b"\xc3\1abcdefgh"]),
)
def test_an_event_is_python_s(
    id: bytes, version: int, occurred_at: int, captured_at: int, data: bytes | None, prefix: bytes
) -> None:
    def made(encode: object) -> object:
        try:
            return encode(id, version, occurred_at, captured_at, data)  # type: ignore[operator]
        except (ValueError, OverflowError) as error:
            return str(error)

    in_c = event_encoder(prefix, "crm", "person")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "absence", "for comparison")
        plainly = event_encoder(prefix, "crm", "person")
    assert type(in_c) is codec.EventEncoder
    assert type(plainly) is not codec.EventEncoder
    assert made(in_c) == made(plainly)
    assert made(in_c) == made(plainly)  # its times are known by now
    if isinstance(event := made(in_c), tuple):
        assert read_in_c(event[0]) or max(id[i : i + 1] for i in range(len(id))) >= b"\x80"


def read_in_c(frame: bytes) -> bool:
    """Whether the C way read a frame's head; what it read must be Python's."""
    found = codec.read_event(frame)
    if found is None:
        return False
    *head, begins = found
    assert tuple(head) == read_head(frame)
    head[1].decode()  # type: ignore[attr-defined]
    assert begins == (-1 if head[2] else data_at(frame, found[4]))
    return True


def test_heads_of_odd_frames_are_python_s(report: Report) -> None:
    chance, taken, tried = random.Random(SEED), 0, 0
    until = time.monotonic() + SECONDS / 2
    while time.monotonic() < until:
        encode = event_encoder(chance.choice([b"\0\0\0\0\7", b"\xc3\1abcdefgh"]), "crm", "person")
        id = chance.choice([b"1", "é".encode(), b"\xff", b"", b"x" * 200])
        frame = encode(id, chance.choice([0, 1, -1, 2**62]), 0, 0, chance.choice([None, b"", b"data"]))[0]
        taken += read_in_c(frame)
        for _ in range(30):
            tried += 1
            taken += read_in_c(spoiled(chance, frame))
    assert 0 < taken < tried
    report(f"{tried} odd frames of seed {SEED}, {taken} read in C")


def spoiled(chance: random.Random, data: bytes) -> bytes:
    """Bytes cut, with one changed, or with some more."""
    place = chance.randrange(len(data) + 1)
    odd = chance.choice([b"\xff", b"\x80", b"\0", b"\1", b"\2", b"\x7f", chance.randbytes(1), b"\xff" * 9 + b"\1"])
    return chance.choice([data[:place], data[:place] + odd + data[place + 1 :], data[:place] + odd + data[place:]])


def a_rule(field: SchemaField, schema: RecordSchema, chance: random.Random) -> Rule:
    """Light, heavy, of several fields, of the record's id, or one that fails for some values."""
    texts = [one.name for one in schema.fields if one.type.kind == "string"]
    rules = ["value", "value | trim", "value | upper", "value | default('')", "value | integer"] * 3 + [
        "record.id ~ value"
    ]
    pair = f"record.{chance.choice(texts or ['id'])} ~ '-' ~ record.{chance.choice(texts or ['id'])}"
    rules += [f"{pair} | lower"] * len(texts)
    return compile_rule(chance.choice(rules), lookups={})


def shapes_of(schema: RecordSchema, chance: random.Random) -> tuple[TableShape, TableShape]:
    """The same shape with and without C: fields go into columns that take them as they are, or nowhere."""
    columns, assigned = {}, []
    for field in schema.fields:
        if chance.random() < 0.3:
            required = chance.random() < 0.5
            columns[field.name] = Column(field.name, 25, "text", "b", "S", 0, 0, required, 25, "text")
            assigned.append(Assignment(field.name, field.name, a_rule(field, schema, chance), None))
            continue
        fitting = [(name, oid) for name, oid in TYPES.items() if cell_reader(field.type, oid, None) is not None]
        if fitting and chance.random() < 0.9:
            name, oid = chance.choice(fitting)
            columns[field.name] = Column(field.name, oid, name, "b", "S", 0, 0, False, oid, name.partition("(")[0])
            assigned.append(Assignment(field.name, field.name, None, None))
    in_c = TableShape(assigned, columns, schema.fields, defaults={}, children={})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "absence", "for comparison")
        plainly = TableShape(assigned, columns, schema.fields, defaults={}, children={})
    assert plainly.in_c is None
    return in_c, plainly


@pytest.mark.search
@settings(max_examples=examples(400), deadline=None)
@given(records(), st.randoms(use_true_random=False), st.binary(max_size=6), LONGS)
def test_a_row_for_copy_is_python_s(drawn: Example, chance: random.Random, id: bytes, version: int) -> None:
    schema, record = drawn.schema, drawn.record
    data = b"head" + b"".join(encoder(field.type)(record[field.name]) for field in schema.fields)
    in_c, plainly = shapes_of(schema, chance)
    for given_data in [data, *(b"head" + spoiled(chance, data[4:]) for _ in range(8))]:
        assert in_c.packed(id, version, given_data, 4) == plainly.packed(id, version, given_data, 4)
        if in_c.in_c is not None and (made := in_c.in_c(id, version, given_data, 4)) is not None:
            assert made == plainly.packed(id, version, given_data, 4)


KINDS = [
    FieldType("string"), FieldType("uuid"), FieldType("enum", symbols=("A", "B")), FieldType("int"), FieldType("long"),
    FieldType("double"), FieldType("boolean"), FieldType("bytes"), FieldType("decimal", precision=9, scale=2),
    FieldType("decimal", precision=30, scale=6), FieldType("timestamp"), FieldType("date"),
]  # fmt: skip


def test_every_cell_that_python_copies_is_known_in_c() -> None:
    for kind in KINDS:
        for oid in {*TYPES.values(), 1042}:
            assert (cell_reader(kind, oid, None) is None) == (native_read(kind, oid, None) is None), (kind, oid)
    assert all(native_skip(kind) is not None for kind in [*KINDS, FieldType("float"), FieldType("time")])


def test_odd_cells_are_python_s(report: Report) -> None:
    chance, taken, tried = random.Random(SEED), 0, 0
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        kind, oid = chance.choice(KINDS), chance.choice([*TYPES.values()])
        kept, limit = chance.choice([(None, None), (1, None), (0, 3), (None, 3)])
        reader, told = cell_reader(kind, oid, kept, limit), native_read(kind, oid, kept, limit)
        if reader is None or told is None:
            continue
        pack = codec.CellEncoder(row_start(3), (told,), ()).pack
        usual = [
            b"\x06abc",
            b"\x0aab   ",
            b"\x02",
            b"\x02\x7f",
            b"\x10" + bytes(7) + b"\x64",
            b"\0",
            b"\1",
            bytes(8),
            b"\x48" + b"6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            b"\xff\xff\xff\xff\x0f",
            b"\x80\x92\xb0\xcd\xb8\xe8\xd0\x05",
        ]
        for data in [each for one in usual for each in (one, *(spoiled(chance, one) for _ in range(5)))]:
            tried += 1
            made = pack(b"7", 9, data, 0)
            if made is not None:
                cell, end = reader(data, 0)
                assert (made, end) == (b"\0\3\0\0\0\0017\0\0\0\x08" + bytes(7) + b"\x09" + cell, len(data)), (
                    kind,
                    oid,
                    data,
                )
                taken += 1
    assert 0 < taken < tried
    report(f"{tried} odd cells of seed {SEED}, {taken} taken in C")


def test_one_compiled_from_other_sources_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sorbus.native._codec as c; c.INTERFACE = 0\nfrom importlib import reload\nimport sorbus.native as n\n"
    )
    code += "reload(n)\nprint(n.codec, n.absence)"
    assert "None compiled from other sources" in told(code)
    monkeypatch.setenv("SORBUS_NO_EXTENSION", "1")
    assert told("import sorbus.native as n; print(n.codec, n.absence)") == "None turned off by SORBUS_NO_EXTENSION\n"


def told(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_suites_of_rows_and_events_pass_without_it() -> None:
    producers = "tests/producers/postgres"
    suites = [f"{producers}/test_collect.py", f"{producers}/test_layout.py", "tests/test_event.py"]
    suites += ["-m", "not search"]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", *suites]
    done = subprocess.run(
        command, env={**os.environ, "SORBUS_NO_EXTENSION": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout


def test_numbers_that_do_not_fit_are_refused_at_once() -> None:
    schema = parse_schema({"type": "record", "name": "r", "fields": [{"name": "n", "type": "long"}]})
    column = Column("n", 20, "bigint", "b", "N", 0, 0, False, 20, "bigint")
    shape = TableShape([Assignment("n", "n", None, None)], {"n": column}, schema.fields, defaults={}, children={})
    assert shape.in_c is not None
    assert shape.in_c(b"7", 2**63, b"\2", 0) is None
    assert shape.in_c(b"7", 1, b"\2", 2) is None
    assert shape.in_c(b"7", 1, b"\2", -1) is None
    with pytest.raises(TypeError):
        shape.in_c(b"7", "1", b"\2", 0)  # type: ignore[arg-type]


def test_threads_that_share_an_encoder_get_their_own_times() -> None:
    """It remembers the last times, which Python's code makes: there another thread may come between."""
    encode, wrong = event_encoder(b"\0\0\0\0\1", "shop", "item"), list[int]()
    before = sys.getswitchinterval()

    def run(first: int) -> None:
        for at in range(first, first + 15_000):
            value, _ = encode(b"1", 5, at, 2 * at, b"x")
            if occurred_at(value, open_frame(value).at) != at:
                wrong.append(at)

    threads = [threading.Thread(target=run, args=(first,)) for first in (1, 10**9, 10**12, 10**14)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert wrong == []
