"""What the statement that would make a table says of its foreign keys, and of the column that ends its rows' validity.

information_schema lists foreign keys only for who may change the table (MariaDB 10.11); this is for who may read it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sorbus.errors import AuthError
from sorbus.mysql.connection import Session, quoted
from sorbus.mysql.faults import number_of

TableName = tuple[str, str]
"""Database and table."""
_GONE, _DENIED = 1146, {1044, 1142}
_NAME = r"`(?:[^`]|``)+`"
_NAMES = rf"\((?:{_NAME}(?:,\s*)?)+\)"
_FOREIGN_KEY = re.compile(
    rf"^\s+CONSTRAINT {_NAME} FOREIGN KEY ({_NAMES}) REFERENCES (?:({_NAME})\.)?({_NAME}) ({_NAMES})(.*)$", re.MULTILINE
)
_ROW_END = re.compile(rf"^\s+({_NAME}) .*\bGENERATED ALWAYS AS ROW END\b", re.MULTILINE)
_VERSIONED = re.compile(r"^\).* WITH SYSTEM VERSIONING\b", re.MULTILINE)
_ACTS = r"(?:CASCADE|SET NULL|SET DEFAULT)"


class ForeignKey(NamedTuple):
    """A reference to `parent`. `on_delete`, `on_update`: whether the server changes rows with the parent's."""

    parent: TableName
    columns: tuple[str, ...]
    referenced: tuple[str, ...]
    on_delete: bool
    on_update: bool


class Declaration(NamedTuple):
    """`row_end`: the column that says until when a row was valid, of a table that keeps its rows' history (MariaDB)."""

    foreign_keys: tuple[ForeignKey, ...] = ()
    row_end: str | None = None


def read_declaration(session: Session, name: TableName) -> Declaration | None:
    """None if there is no such table. AuthError where our user may not read it; pymysql.Error."""
    from pymysql.err import MySQLError

    try:
        [(_, text, *_)] = session.query(f"show create table {quoted(*name)}")
    except MySQLError as error:
        if number_of(error) == _GONE:
            return None
        if number_of(error) in _DENIED:
            raise AuthError(
                f"our user may not read {'.'.join(name)}, with whose rows a foreign key lets the server change captured"
                f" ones: let an administrator run `GRANT SELECT ON {quoted(*name)} TO` it"
            ) from error
        raise
    return declaration_of(str(text), name[0])


def declaration_of(statement: str, database: str) -> Declaration:
    """What a table's CREATE TABLE says, as the server itself writes it."""
    keys = [
        ForeignKey(
            (_unquoted(parent[0]) if parent[0] else database, _unquoted(parent[1])),
            _unquoted_all(columns),
            _unquoted_all(referenced),
            re.search(rf"\bON DELETE {_ACTS}", rules) is not None,
            re.search(rf"\bON UPDATE {_ACTS}", rules) is not None,
        )
        for columns, *parent, referenced, rules in _FOREIGN_KEY.findall(statement)
    ]
    named = _ROW_END.search(statement)
    row_end = _unquoted(named.group(1)) if named else "row_end" if _VERSIONED.search(statement) else None
    return Declaration(tuple(keys), row_end)


def _unquoted(name: str) -> str:
    return name[1:-1].replace("``", "`")


def _unquoted_all(names: str) -> tuple[str, ...]:
    return tuple(map(_unquoted, re.findall(_NAME, names)))
