"""Checksums of a flow's target tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg import DataError, sql

from sorbus.checksums import ComparedField, ComparedPart, HashFunction
from sorbus.connector import BoundFlow
from sorbus.consumers.postgres.options import PostgresTarget
from sorbus.consumers.postgres.stages import is_added_id
from sorbus.consumers.postgres.tables import check_columns, find_applied, target_parts, without_absent_id
from sorbus.errors import TransientError, UsageError
from sorbus.mapping.assign import Assignment
from sorbus.postgres.canonical_text import id_text, target_form, target_text
from sorbus.postgres.catalog import Column, Table, qualified, read_table
from sorbus.postgres.checksums import CheckedTable, PostgresChecksums, plain_text, prepare
from sorbus.postgres.connection import Connection, PostgresConnection, connect, postgres_errors
from sorbus.schema import FieldType, SchemaField


def compared_parts(flow: BoundFlow) -> dict[str, ComparedPart]:
    """What the mapping fills in the target's tables, each field with the form in which it can be compared.

    UsageError where a table lacks a column that is to be compared; TransientError, AuthError.
    """
    options = _options(flow)
    with _session(flow) as session, postgres_errors(_doing(flow)):
        tables = _tables(session, options)
    parts = {}
    for part, assignments in target_parts(flow).items():
        table, fields = tables[part], _fields(flow, part)
        own = options.key if not part else options.children[part].parent
        position = options.children[part].position if part else None
        filled = [
            item
            for item in without_absent_id(table, assignments)
            if item.into not in (own, position) and not (part and is_added_id(item))
        ]
        if lacking := check_columns(table, filled):
            raise UsageError(
                f"flow {flow.flow.id} can't be compared: {table.name} has no column {', '.join(lacking)}, which the"
                " mapping fills: add it there (`sorbus apply` where Sorbus made the table), or out of the sheet with it"
            )
        compared = [_compared(part, item, table.columns[item.into], fields) for item in filled]
        parts[part] = ComparedPart(compared, placed=position is not None)
    return parts


class TargetChecksums(PostgresChecksums):
    """A flow's target tables. `applied` is the side table of versions, None without one."""

    def __init__(
        self,
        session: Connection,
        doing: str,
        parts: Mapping[str, CheckedTable],
        hashing: HashFunction,
        applied: sql.Identifier | None,
        target: PostgresTarget,
    ) -> None:
        super().__init__(session, doing, parts, hashing)
        self._applied, self._relation, self._existing = applied, qualified(target.table), target.existing

    def spelled(self, ids: Sequence[str]) -> dict[str, str]:
        """See `sorbus.checksums.TargetChecksumReader`; ids that can't be of the key column's type have none."""
        table = self._parts[""]
        ((column, value),) = table.key
        query = sql.SQL(
            "select w.id, {id} from unnest({ids}::text[]) w (id) join {rows} on {value} = w.id::{type}"
            " where ({condition}) and {id} <> w.id"
        ).format(
            ids=sql.Literal(list(ids)),
            id=sql.SQL('({} collate "C")').format(table.id),
            rows=table.rows,
            value=value,
            type=sql.SQL(column.plain or column.unbounded),
            condition=table.condition,
        )
        with postgres_errors(self._doing):
            try:
                with self._session.transaction():
                    rows = self._session.execute(query).fetchall()
            except DataError:
                middle = len(ids) // 2
                return {**self.spelled(ids[:middle]), **self.spelled(ids[middle:])} if middle else {}
        return {plain_text(id): plain_text(other) for id, other in rows}

    def written(self, ids: Sequence[str]) -> dict[str, bool]:
        """See `sorbus.checksums.TargetChecksumReader`.

        The side table has what Sorbus wrote into a table of someone else's, though another flow may have written it;
        of a table that Sorbus made it has what was deleted there.
        """
        if self._applied is None:
            return {}
        query = sql.SQL("select id from {} where relation = {} and id = any({}::text[])").format(
            self._applied, sql.Literal(self._relation), sql.Literal(list(ids))
        )
        with postgres_errors(self._doing):
            known = {plain_text(id) for (id,) in self._session.execute(query).fetchall()}
        return {id: id in known for id in ids if (id in known) is not self._existing}


def open_checksums(flow: BoundFlow, parts: Mapping[str, ComparedPart], hashing: HashFunction) -> TargetChecksums:
    """A reader of these parts of the target. TransientError, AuthError."""
    options, session = _options(flow), _session(flow)
    try:
        with postgres_errors(_doing(flow)):
            tables = _tables(session, options)
            applied = find_applied(session, options.table)
            session.rollback()
        checked = {part: _checked(flow, options, tables, part, found) for part, found in parts.items()}
    except BaseException:
        session.close()
        raise
    return TargetChecksums(session, _doing(flow), checked, hashing, applied, options)


def _compared(part: str, item: Assignment, column: Column, fields: Mapping[str, SchemaField]) -> ComparedField:
    found = fields.get(item.source or "")
    type = None if found is None else found.type
    is_known = item.rule is None and (type is not None or item.source == "id")
    return ComparedField(part, item.into, item, type, target_form(column, type) if is_known else None)


def _checked(
    flow: BoundFlow, options: PostgresTarget, tables: Mapping[str, Table], part: str, compared: ComparedPart
) -> CheckedTable:
    table = tables[part]
    key = table.columns[options.children[part].parent if part else options.key]
    value = sql.Identifier("t", key.name)
    live: sql.Composable = sql.SQL("true")
    rows: sql.Composable = sql.SQL("{} t").format(table.identifier)
    if flow.flow.deletes == "soft":
        deleted = sql.Identifier("r", options.deleted_column)
        live = sql.SQL("{} is null").format(deleted if part else sql.Identifier("t", options.deleted_column))
        if part:
            rows = sql.SQL("{} t join {} r on {} = {}").format(
                table.identifier, tables[""].identifier, sql.Identifier("r", options.key), value
            )
    position = options.children[part].position if part else None
    values = [
        (field.name, target_text(table.columns[field.name], field.form, sql.Identifier("t", field.name)))
        for field in compared.fields
        if field.form is not None
    ]
    place = sql.Identifier("t", position) if position and compared.placed else None
    return CheckedTable(rows, live, id_text(key, value), [(key, value)], values, place, [table.oid])


def _fields(flow: BoundFlow, part: str) -> Mapping[str, SchemaField]:
    if not part:
        return flow.schema.by_name
    item = flow.schema.by_name[part].type.item
    assert isinstance(item, FieldType)
    return {field.name: field for field in item.fields}


def _tables(session: Connection, options: PostgresTarget) -> dict[str, Table]:
    names = {"": options.table, **{part: child.table for part, child in options.children.items()}}
    found = {}
    for part, name in names.items():
        table = read_table(session, name)
        if table is None:
            raise TransientError(f"there is no table {qualified(name)} yet; run `sorbus apply`")
        found[part] = table
    session.rollback()
    return found


def _session(flow: BoundFlow) -> Connection:
    assert isinstance(flow.system.connection, PostgresConnection)
    session = connect(flow.system.connection, f"reconcile {flow.flow.id}", unhurried=True)
    with postgres_errors(_doing(flow)):
        prepare(session)
    return session


def _options(flow: BoundFlow) -> PostgresTarget:
    assert isinstance(flow.options, PostgresTarget)
    return flow.options


def _doing(flow: BoundFlow) -> str:
    return f"comparing {flow.system.name} for flow {flow.flow.id}"
