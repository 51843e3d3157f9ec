"""Cells against PostgreSQL itself: what a binary COPY brings in is read back equal, for any value."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import sql

from sorbus.avro.decode import Undecodable
from sorbus.avro.encode import encode_bytes, encode_long, encoder
from sorbus.consumers.postgres.cells import (
    HEADER,
    NULL,
    TRAILER,
    cell_reader,
    int_cell,
    long_cell,
    numeric_cell,
    row_start,
    text_cell,
)
from sorbus.ops.embedded import Addresses
from sorbus.schema import FieldType

Connection = psycopg.Connection[tuple[object, ...]]
PATIENT = settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
DECIMALS = st.builds(lambda n: Decimal(n).scaleb(-6), st.integers(-(10**20), 10**20))


@pytest.fixture(scope="module")
def connection(stack: Addresses) -> Iterator[Connection]:
    options = "-c TimeZone=UTC -c DateStyle=ISO"
    with psycopg.connect(stack.database, autocommit=True, options=options, prepare_threshold=None) as connection:
        yield connection


def read_back(connection: Connection, native: str, cells: list[bytes], select: str = "v") -> list[object]:
    """Brings cells into a column of type `native` by binary COPY, and reads them."""
    statement = "create temporary table cells (n int, v {})"
    connection.execute(sql.SQL("drop table if exists cells"))
    connection.execute(sql.SQL(statement).format(sql.SQL(native)))
    rows = [row_start(2) + int_cell(n) + cell for n, cell in enumerate(cells)]
    with connection.cursor() as cursor, cursor.copy("copy cells from stdin (format binary)") as copy:
        copy.write(b"".join((HEADER, *rows, TRAILER)))
    query = sql.SQL("select {} from cells order by n").format(sql.SQL(select))
    return [row[0] for row in connection.execute(query)]


def written(unscaled: int, scale: int) -> str:
    """A decimal as PostgreSQL writes it, digit by digit, without any arithmetic of Python's decimal."""
    digits = str(abs(unscaled)).rjust(scale + 1, "0")
    whole, part = (digits[:-scale], digits[-scale:]) if scale else (digits, "")
    return ("-" if unscaled < 0 else "") + whole + ("." + part if part else "")


@given(
    st.lists(st.tuples(st.integers(-(10**60), 10**60) | st.integers(-(10**5), 10**5), st.integers(0, 30)), max_size=60)
)
@example([(0, 0), (0, 5), (1, 4), (10**8, 4), (10**8, 0), (-1, 1), (9999, 4), (10_000, 4), (10_000, 0), (5, 30)])
@PATIENT
def test_a_numeric_is_the_same_digits_in_postgresql(connection: Connection, numbers: list[tuple[int, int]]) -> None:
    cells = [numeric_cell(unscaled, scale) for unscaled, scale in numbers]
    assert read_back(connection, "numeric", cells, "v::text") == [written(*number) for number in numbers]


class Case(NamedTuple):
    """A canonical type, the column it goes into, and values it has."""

    name: str
    kind: FieldType
    native: str
    oid: int
    values: st.SearchStrategy[object]
    scale: int | None = None


CASES = [
    Case("text", FieldType("string"), "text", 25, TEXT),
    Case("long text", FieldType("string"), "text", 25, st.integers(60, 9000).map(lambda n: "ä" * n)),
    Case("varchar", FieldType("string"), "varchar", 1043, TEXT),
    Case("json", FieldType("string"), "json", 114, st.integers().map(str)),
    Case("label", FieldType("enum", symbols=("A", "B", "long one")), "text", 25, st.sampled_from(["A", "B"])),
    Case("uuid", FieldType("uuid"), "uuid", 2950, st.uuids()),
    Case("uuid as text", FieldType("uuid"), "text", 25, st.uuids().map(str)),
    Case("int", FieldType("int"), "integer", 23, st.integers(-(2**31), 2**31 - 1)),
    Case("wider int", FieldType("int"), "bigint", 20, st.integers(-(2**31), 2**31 - 1)),
    Case("long", FieldType("long"), "bigint", 20, st.integers(-(2**63), 2**63 - 1)),
    Case("double", FieldType("double"), "double precision", 701, st.floats(allow_nan=False)),
    Case("boolean", FieldType("boolean"), "boolean", 16, st.booleans()),
    Case("bytes", FieldType("bytes"), "bytea", 17, st.binary(max_size=300)),
    Case("decimal", FieldType("decimal", precision=28, scale=6), "numeric(28,6)", 1700, DECIMALS, 6),
    Case("timestamp", FieldType("timestamp"), "timestamptz", 1184, MOMENTS),
    Case("date", FieldType("date"), "date", 1082, st.dates()),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@given(st.data())
@PATIENT
def test_every_value_is_read_back_equal(connection: Connection, case: Case, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | case.values, max_size=40))
    kind = FieldType(
        case.kind.kind, True, precision=case.kind.precision, scale=case.kind.scale, symbols=case.kind.symbols
    )
    encode, read = encoder(kind), cell_reader(kind, case.oid, case.scale)
    assert read is not None
    cells = []
    for value in values:
        bytes_ = encode(value)
        cell, end = read(bytes_ + b"rest", 0)
        assert end == len(bytes_)
        assert (cell == NULL) is (value is None)
        cells.append(cell)
    assert read_back(connection, case.native, cells, "v::text" if case.name == "json" else "v") == values


def test_a_decimal_that_the_column_would_round_is_refused() -> None:
    read = cell_reader(FieldType("decimal", precision=10, scale=4), 1700, 2)
    assert read is not None
    encode = encoder(FieldType("decimal", precision=10, scale=4))
    read(encode(Decimal("1.2300")), 0)
    with pytest.raises(ValueError, match="more than the 2 decimal places"):
        read(encode(Decimal("1.2340")), 0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@given(st.binary(max_size=40))
@settings(deadline=None, max_examples=50)
@example(encode_long(-1))
@example(encode_long(-2))
@example(b"\2" + encode_long(-1) + b"x")
@example(b"\2\3xx")
@example(encode_long(-100))
@example(encode_long(-(2**40)))
@example(b"\2" + encode_long(-(2**40)))
def test_garbage_never_moves_backwards_nor_makes_a_malformed_cell(case: Case, garbage: bytes) -> None:
    for is_nullable in (False, True):
        kind = FieldType(
            case.kind.kind, is_nullable, precision=case.kind.precision, scale=case.kind.scale, symbols=case.kind.symbols
        )
        read = cell_reader(kind, case.oid, case.scale)
        assert read is not None
        try:
            cell, end = read(garbage, 0)
        except (IndexError, struct.error, OverflowError, ValueError):
            continue
        assert end > 0
        if end <= len(garbage) and cell != NULL:
            assert len(cell) == 4 + int.from_bytes(cell[:4], "big", signed=True)
        assert cell != NULL or garbage[0] == 0


def test_a_negative_length_is_undecodable() -> None:
    read = cell_reader(FieldType("string"), 25, None)
    assert read is not None
    for length in (-1, -3, -5000):
        with pytest.raises(Undecodable):
            read(encode_long(length) + b"abc", 0)


@given(st.integers(-(2**63), 2**63 - 1))
def test_our_own_cells_have_the_length_they_say(number: int) -> None:
    assert long_cell(number)[4:] == struct.pack(">q", number)
    assert text_cell(b"x" * (number % 5000))[:4] == struct.pack(">i", number % 5000)
    assert encode_bytes(b"") == b"\0"
