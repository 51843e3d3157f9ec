"""What makes a table impossible as a target, found by asking the server itself before any record is written.

Every statement that the consumer will run is explained: PostgreSQL then plans it and checks our rights, and writes
nothing. What only shows when a row is written (a column that no row fills, row security without a policy) is read from
the catalog.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib.resources import files
from typing import NamedTuple, cast

import psycopg
from psycopg import sql

from sorbus.connector import BoundFlow, Step
from sorbus.consumers.postgres.options import PostgresTarget
from sorbus.consumers.postgres.other_ids import other_ids
from sorbus.consumers.postgres.tables import find_applied, stand_in_applied, target_parts, without_absent_id
from sorbus.consumers.postgres.writing import NOT_A_RECORDS, Writing
from sorbus.errors import SorbusError
from sorbus.postgres.catalog import Table, read_table
from sorbus.postgres.connection import Connection, PostgresConnection, connect
from sorbus.postgres.sqlstate import of_error

_FACTS = (files("sorbus.consumers.postgres") / "facts.sql").read_text()
_FIXES: Mapping[str, str] = {
    "0A000": "Sorbus writes with `insert ... on conflict`: drop the rule, or name the table that it writes to",
    "25006": "it is a standby or read only: let the dsn name the primary server",
    "42501": "let its owner grant our role usage on its schema, and select, insert, update and delete on it",
    "42703": "fix the mapping sheet, or add the column",
    "42P01": "run `sorbus apply`, or fix the map",
    "428C9": "let the owner of the table behind it generate the identity column by default, not always; take a computed"
    " column out of the mapping sheet",
    "42P10": "let its owner make a unique index on the flow's `key:` alone, not partial and not deferrable; a"
    " partitioned table can have one only on its partition key",
    "55000": "name the table behind it, or let its owner make what it lacks",
}


class Obstacle(NamedTuple):
    """Something that keeps every record out, and what a person can do. `state`: PostgreSQL's code, if it said so."""

    what: str
    fix: str
    state: str | None = None

    def __str__(self) -> str:
        return f"{self.what}; {self.fix}"


def obstacles(session: Connection, flow: BoundFlow, tables: Mapping[str, Table], writing: Writing) -> list[Obstacle]:
    """What keeps every record of the flow out of its tables. psycopg.Error when it can't be asked."""
    options = flow.options
    assert isinstance(options, PostgresTarget)
    filled = {part: {one.into for one in found} for part, found in target_parts(flow).items()}
    filled[""] |= {options.key, "sorbus_version", options.deleted_column}
    for name, child in options.children.items():
        filled[name] |= {child.parent, child.position or child.parent}
    found = []
    for part, table in tables.items():
        row = session.execute(_FACTS, {"table": table.oid, "key": options.key}).fetchone()
        facts = _Facts(*cast("tuple[bool, bool, bool, bool, bool, list[str], list[str]]", row))
        name = table.name
        if not part and not facts.key_is_unique:
            found.append(Obstacle(f"{name}.{options.key} is not a key that a merge can use", _FIXES["42P10"], "42P10"))
        if facts.hides_everything:
            fix = "let its owner write a policy for our role, or grant it bypassrls"
            found.append(Obstacle(f"row security of {name} lets our role write nothing", fix, "42501"))
        elif facts.hides_deletes and (part or flow.flow.deletes == "hard"):
            what = "items of lists" if part else "deleted records"
            fix = "let its owner write a policy for delete for our role, or grant it bypassrls"
            fix += "" if part else "; or write deletes: soft or ignore"
            found.append(
                Obstacle(f"row security of {name} lets our role delete nothing, so that {what} stay", fix, "42501")
            )
        empty = sorted(each.name for each in table.columns.values() if each.required and each.name not in filled[part])
        if empty and options.creates and not facts.has_triggers:
            fix = "add it to the mapping sheet, or let its owner give it a default"
            found.append(Obstacle(f"{name}.{', '.join(empty)} must have a value, and the map gives none", fix, "23502"))
        found += _takes_nothing(table, facts, filled[part])
    found += [Obstacle(what, fix) for what, fix in other_ids(session, flow, tables, writing.applied)]
    for error in _explained(session, flow, writing):
        words = " ".join(filter(None, (error.diag.message_primary, error.diag.message_detail))) or str(error)
        fix = _FIXES.get(error.sqlstate or "", error.diag.message_hint or "fix the target or the map")
        if not any(one.state == error.sqlstate for one in found if one.state in ("42P10", "428C9")):
            found.append(Obstacle(f"{options.table}: PostgreSQL says: {words}", fix, error.sqlstate))
    return list(dict.fromkeys(found))


def _explained(session: Connection, flow: BoundFlow, writing: Writing) -> list[psycopg.Error]:
    """What the server has against the statements that write and delete; nothing is written."""
    stage = writing.stages.of(flow.schema)
    deletes = writing.stages.deletes[False] if flow.flow.deletes != "ignore" else []
    errors = []
    for statement in [*stage.statements[False], *deletes]:
        try:
            with session.transaction(force_rollback=True):
                session.execute(b"explain " + statement)
        except psycopg.Error as error:
            if session.closed or of_error(error) in NOT_A_RECORDS:
                raise
            errors.append(error)
    return errors


def plan_obstacles(flow: BoundFlow) -> list[Step]:
    """What a person has to do before records can pass, as steps of `sorbus plan`; nothing while tables are missing."""
    options = flow.options
    assert isinstance(options, PostgresTarget)
    assert isinstance(flow.system.connection, PostgresConnection)
    with connect(flow.system.connection, "plan") as session:
        tables: dict[str, Table] = {}
        names = {"": options.table, **{name: child.table for name, child in options.children.items()}}
        for part, name in names.items():
            table = read_table(session, name)
            if table is None:
                return []
            tables[part] = table
        parts = {part: without_absent_id(tables[part], found) for part, found in target_parts(flow).items()}
        if any(one.into not in tables[part].columns for part, found in parts.items() for one in found):
            return []  # said by the plan of the columns
        if any(child.parent not in tables[name].columns for name, child in options.children.items()):
            return []
        if options.key not in tables[""].columns:
            return []
        try:
            applied = find_applied(session, options.table) or stand_in_applied(session)
            writing = Writing(session, flow, parts, tables, applied, lambda: None)
            found = obstacles(session, flow, tables, writing)
        except (psycopg.Error, SorbusError) as error:
            found = [Obstacle(f"{options.table}: {error}", "fix the target or the map")]
        finally:
            session.rollback()
    return [Step(flow.system.name, f"flow {flow.flow.id} can't deliver: {one.what}", one.fix) for one in found]


def _takes_nothing(table: Table, facts: _Facts, filled: Collection[str]) -> list[Obstacle]:
    """Columns that the flow fills and that take a value from nobody but the server."""
    found = []
    for column in filter(filled.__contains__, facts.identities):
        change = sql.SQL("alter table {} alter column {} set generated by default").format(
            table.identifier, sql.Identifier(column)
        )
        what = f"{table.name}.{column} is an identity column that is always generated: it takes no value from us"
        found.append(Obstacle(what, f"let its owner run `{change.as_string()}`", "428C9"))
    for column in filter(filled.__contains__, facts.computed):
        what = f"{table.name}.{column} is computed by PostgreSQL: it takes no value from us"
        found.append(Obstacle(what, f"take {column} out of the mapping sheet", "428C9"))
    return found


class _Facts(NamedTuple):
    """What the catalog says of a table; see facts.sql."""

    is_table: bool
    has_unique_key: bool
    hides_everything: bool
    hides_deletes: bool
    has_triggers: bool
    identities: list[str]
    computed: list[str]

    @property
    def key_is_unique(self) -> bool:
        """Of a view's key the server says it when a statement is explained."""
        return self.has_unique_key or not self.is_table
