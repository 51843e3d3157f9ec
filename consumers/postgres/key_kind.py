"""How a target's key column tells ids apart: each by its text, by one spelling of a value, or less than that."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

import psycopg
from psycopg import sql

from sorbus.postgres.catalog import Column, Table
from sorbus.postgres.connection import Connection

_TEXT, _VARCHAR, _CHAR, _NUMERIC = 25, 1043, 1042, 1700
_INTEGER = "0|-?[1-9][0-9]*"
_HEX = "[0-9a-f]"
_PLAIN = {
    20: _INTEGER, 21: _INTEGER, 23: _INTEGER, 1082: "[0-9]{4}-[0-9]{2}-[0-9]{2}",
    2950: f"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}",
}  # fmt: skip
"""How PostgreSQL itself writes values of types that are quick to look at: such ids are equal as texts, or not equal."""
_PLAIN_CHAR = r"[^\n]*[^\n ]"
_WHOLE = re.compile(r"numeric(\(\d+,0\))?")
_CUT = frozenset({18, 19})
"""Types whose input cuts a text that is too long without a word: "char" and name."""
# Collations that take different texts for equal: of the column, and of the unique indexes that `on conflict` goes by.
_ALIKE = """
select (select format('%%I.%%I', n.nspname, c.collname) from pg_collation c
          join pg_namespace n on n.oid = c.collnamespace
         where c.oid = a.attcollation and not c.collisdeterministic),
       (select format('%%I.%%I', n.nspname, c.collname) from pg_index i
          join pg_collation c on c.oid = i.indcollation[0] join pg_namespace n on n.oid = c.collnamespace
         where i.indrelid = a.attrelid and i.indisunique and i.indisvalid and i.indnkeyatts = 1
           and i.indkey[0] = a.attnum and i.indpred is null and not c.collisdeterministic
         order by c.oid limit 1)
  from pg_attribute a where a.attrelid = %s and a.attname = %s
"""


class KeyCut(psycopg.errors.StringDataRightTruncation):
    """A column would keep another id than the record's, which is `place` in its batch."""

    place = 0
    column = ""


class KeyKind(NamedTuple):
    """`plain`: the only spelling that ids of a quick type have; "": every text is an id of its own; None: neither.

    `alike` takes different texts for equal: the column's own collation. So does `collation`, of a unique index, with
    the word before it. `keeps_blanks`: whether no declared length cuts blanks.
    """

    column: Column
    plain: str | None
    alike: str
    collation: sql.SQL
    keeps_blanks: bool

    @property
    def cuts(self) -> bool:
        """Whether its input cuts texts."""
        return self.column.base in _CUT

    def is_plain(self, id: str) -> bool:
        """Whether this is the only spelling of a value that can be one of a quick type's plain ones."""
        return bool(self.plain) and re.fullmatch(self.plain or "", id) is not None

    @property
    def name(self) -> str:
        """Another one where ids may be told apart in another way."""
        return " ".join(filter(None, (self.column.native, self.alike, self.collation.as_string())))

    def covers(self, key: KeyKind) -> bool:
        """Whether this parent column of a list's table tells apart all ids that the record's key does."""
        if self.plain == "":
            return self.keeps_blanks or self.name == key.name
        return self.name == key.name or (self.plain is not None and self.plain == key.plain)

    def tells_apart(self, ids: Sequence[bytes]) -> bool:
        """Whether these are equal as keys only where they are equal as texts, and are kept whole."""
        if self.plain is None:
            return False
        if not self.plain:
            return self.keeps_blanks or not any(id.endswith(b" ") for id in ids)
        joined = b"\n".join((*ids, b""))
        return joined.count(b"\n") == len(ids) and _pattern(self.plain).fullmatch(joined) is not None


def key_kind(session: Connection, table: Table, key: str) -> KeyKind:
    """How a table's key column, or the parent column of a list's table, tells ids apart. psycopg.Error."""
    column = table.columns[key]
    own, index = session.execute(_ALIKE, (table.oid, key)).fetchone() or (None, None)
    plain = _PLAIN.get(column.base)
    if column.oid == _NUMERIC and _WHOLE.fullmatch(column.native):
        plain = _INTEGER
    if own is index is None and (column.base == _TEXT or column.oid in (_VARCHAR, _CHAR)):  # a domain's length cuts
        plain = _PLAIN_CHAR if column.base == _CHAR else ""
    collation = sql.SQL("" if index is None else f"collate {index}")
    return KeyKind(column, plain, str(own or ""), collation, column.base != _VARCHAR)


@functools.cache
def _pattern(plain: str) -> re.Pattern[bytes]:
    return re.compile(rf"(?:(?:{plain})\n)*".encode())


def key_cut(place: int, table: str, kind: KeyKind, id: str, kept: str) -> KeyCut:
    """The error of an id that would be kept as another one."""
    column = kind.column
    error = KeyCut(
        f"{table}.{column.name} is {column.native} and would keep {kept!r} for the record's id {id!r}, which may be"
        " another one's: let its owner declare it as text, or name another column in the map"
    )
    error.place, error.column = place, column.name
    return error
