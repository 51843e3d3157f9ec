"""A row of COPY's text format, split as PostgreSQL writes it."""

from __future__ import annotations

import psycopg
from hypothesis import given
from hypothesis import strategies as st

from sorbus.producers.postgres.table_snapshot import split_line

_ESCAPES = {b"\b": b"\\b", b"\f": b"\\f", b"\n": b"\\n", b"\r": b"\\r", b"\t": b"\\t", b"\v": b"\\v"}


def as_copied(cells: list[bytes | None]) -> bytes:
    """As the documentation of COPY says: backslash first, then the control characters that have a letter."""
    out = []
    for cell in cells:
        text = b"\\N" if cell is None else cell.replace(b"\\", b"\\\\")
        for raw, written in _ESCAPES.items():
            text = text.replace(raw, written)
        out.append(text)
    return b"\t".join(out) + b"\n"


_CELLS = st.none() | st.binary(max_size=20) | st.text("\\\\\\nN\tbt\n\r\v\f\b ", max_size=12).map(str.encode)


@given(st.lists(_CELLS, min_size=1, max_size=6))
def test_a_line_is_split_into_the_values_it_was_made_of(cells: list[bytes | None]) -> None:
    assert split_line(as_copied(cells)) == cells


AWKWARD = ["", "\\", "\\\\", "\\N", "\\n", "a\tb", "a\nb", "a\rb", "\b\f\v", "\\\\n", "x\\", "é\\é", "\x01\x7f", None]


def test_postgresql_escapes_as_we_read(database: str) -> None:
    with psycopg.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("create temporary table awkward (n int, a text, b text)")
        rows = [(place, value, other) for place, value in enumerate(AWKWARD) for other in AWKWARD]
        cursor.executemany("insert into awkward values (%s, %s, %s)", rows)
        with cursor.copy("copy (select * from awkward order by n) to stdout") as copy:
            found = {tuple(split_line(bytes(line))) for line in copy}
    assert found == {
        (str(n).encode(), None if a is None else a.encode(), None if b is None else b.encode()) for n, a, b in rows
    }
