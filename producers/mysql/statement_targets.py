"""The data types whose rows a statement of the log may change: by its text, and by what it writes through; no I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from sorbus.mysql.declaration import TableName
from sorbus.producers.mysql.capture import MysqlCapture
from sorbus.producers.mysql.dependents import Dependents, Writers, ends_of
from sorbus.producers.mysql.log_events import Statement
from sorbus.producers.mysql.statements import Effect, drops_reference, moves_tables, names_column, names_table

_CALL = re.compile(r"\bcall\b", re.IGNORECASE)


class Captured(NamedTuple):
    """What is captured, and what changes it without the log saying so."""

    captures: Sequence[MysqlCapture]
    dependents: Dependents
    writers: Writers


def readers_of(captures: Iterable[MysqlCapture], table: TableName) -> list[MysqlCapture]:
    """The data types that a table is read for."""
    return [one for one in captures if table in {(each.database, each.name) for each in one.tables}]


class StatementTargets:
    """Finds the data types. What can't be told counts as a change of all."""

    def __init__(self, captured: Captured, read_writers: Callable[[], Writers]) -> None:
        """`read_writers`: as they are now, for when the log has said that they change."""
        self._captures, self._cascades, self._writers = (
            captured.captures,
            captured.dependents.cascades,
            captured.writers,
        )
        self._read_writers, self._are_old = read_writers, False
        self._tables = [(one.name, table) for one in self._captures for table in one.tables]
        self._all = {one.name for one in self._captures}

    def may_be_written_through_others(self) -> None:
        """A view, a function or a trigger has come, gone or changed."""
        self._are_old = True

    def data_types(self, statement: Statement, effect: Effect) -> set[str]:
        """Those that a statement may change."""
        if effect.tables is not None:
            written = {(one.lower(), two.lower()) for one, two in effect.tables}
            found = {name for name, one in self._tables if (one.database.lower(), one.name.lower()) in written}
        else:
            found = self._named(statement.text, statement.database)
        if effect.kind == "dml":
            found |= self._written_through(statement, effect)
        if effect.kind == "dml" or drops_reference(statement.text) or moves_tables(statement.text):
            for cascade in self._cascades:
                if names_table(statement.text, *cascade.parent, statement.database):
                    for reached in {cascade.child, *ends_of(self._cascades, cascade.child)}:
                        found |= {one.name for one in readers_of(self._captures, reached)}
        return found

    def with_other_rows(self, names: Collection[str], effect: Effect) -> list[str]:
        """Those data types of `names`, whose tables a statement names, whose rows it may have changed."""
        return [one.name for one in self._captures if one.name in names and _has_other_rows(one, effect)]

    def _named(self, text: str, database: str) -> set[str]:
        return {name for name, one in self._tables if names_table(text, one.database, one.name, database)}

    def _written_through(self, statement: Statement, effect: Effect) -> set[str]:
        if self._are_old:
            self._writers, self._are_old = self._read_writers(), False
        if self._writers.triggers is None:
            near = {table.database.lower() for _, table in self._tables}
            if effect.tables is None or near & {database.lower() for database, _ in effect.tables}:
                return set(self._all)
        return self._named_within(statement.text, statement.database, frozenset())

    def _named_within(self, text: str, database: str, seen: frozenset[str]) -> set[str]:
        """By the views, functions and triggers of what a text names; `seen`: texts of triggers."""
        if any(names_table(text, *one, database) for one in self._writers.indirect):
            return set(self._all)
        found = set[str]()
        for (schema, table), inner in self._writers.triggers or ():
            if inner in seen or not names_table(text, schema, table, database):
                continue
            if _CALL.search(inner):
                return set(self._all)
            found |= self._named(inner, schema) | self._named_within(inner, schema, seen | {inner})
        return found


def _has_other_rows(capture: MysqlCapture, effect: Effect) -> bool:
    if effect.kind == "dml" or effect.columns is None:
        return True
    if any(all(names_column(clause, column) for column in capture.key) for clause in effect.keys):
        return True
    return any(names_column(clause, column) for clause in effect.columns for column in capture.made_of())
