"""The PostgreSQL consumer: one transaction a batch; a refused record is set aside alone, its neighbours land."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import psycopg
from psycopg import sql
from pydantic import BaseModel, JsonValue

from sorbus.avro.decode import Undecodable
from sorbus.connector import BoundFlow, BoundSystem, Delivery, Erased, NullCount, Preview, Refusal, Resource, Step
from sorbus.consumers.postgres.cells import HEADER, TRAILER, int_cell, long_cell, row_start, text_cell
from sorbus.consumers.postgres.erase import erase_rows, kept
from sorbus.consumers.postgres.faults import CopyContext, copy_context, try_value
from sorbus.consumers.postgres.merge import (
    GONE,
    ChildMerge,
    Merge,
    create_gone,
    create_stage,
    delete,
    forget_won,
    upsert,
)
from sorbus.consumers.postgres.options import PostgresTarget
from sorbus.consumers.postgres.preview import preview_write, read_row
from sorbus.consumers.postgres.shape import StageColumn, TableShape
from sorbus.consumers.postgres.tables import (
    APPLIED,
    VERSION_COLUMN,
    check_columns,
    plan_target,
    target_parts,
    without_absent_id,
)
from sorbus.errors import PermanentError, TransientError
from sorbus.mapping.assign import Assignment
from sorbus.postgres.catalog import Table, discover_tables, qualified, read_table
from sorbus.postgres.connection import Connection as Session
from sorbus.postgres.connection import PostgresConnection, as_error, connect, is_of_tables, postgres_errors
from sorbus.postgres.nulls import count_nulls
from sorbus.schema import RecordSchema


class _Stage(NamedTuple):
    """What one writer's schema needs: its shape, its stage tables, and the statements, for `again` False and True."""

    shape: TableShape
    name: str
    children: dict[str, str]
    statements: tuple[list[sql.Composed], list[sql.Composed]]


class _Packed(NamedTuple):
    """A delivery made ready: its row for its stage (None: deleted), and its items' rows by list field."""

    place: int
    delivery: Delivery
    stage: _Stage | None
    row: bytes
    items: dict[str, list[bytes]]


class PostgresConsumer:
    """Delivers one flow into one table (with its list fields' tables) of a PostgreSQL database."""

    Connection: type[BaseModel] = PostgresConnection
    Target: type[BaseModel] = PostgresTarget

    def __init__(self, flow: BoundFlow) -> None:
        assert isinstance(flow.options, PostgresTarget)
        assert isinstance(flow.system.connection, PostgresConnection)
        self._flow, self._options, self._connection = flow, flow.options, flow.system.connection
        self._parts = target_parts(flow)
        self._session: Session | None = None
        self._stages: dict[str, _Stage] = {}
        self._deletes: tuple[list[sql.Composed], list[sql.Composed]] = ([], [])
        self._tables: dict[str, Table] = {}
        self._defaults = {
            field.name: field.default
            for field in flow.schema.fields
            if field.has_default and isinstance(field.default, str | int | bool | None)
        }

    @classmethod
    def plan(cls, flow: BoundFlow) -> list[Step]:
        """What has to change in the database before the flow's consumer can run."""
        return plan_target(flow)

    @classmethod
    def discover(cls, system: BoundSystem) -> list[Resource]:
        """Every table of the database."""
        return discover_tables(system)

    @classmethod
    def count_nulls(cls, system: BoundSystem, columns: dict[str, list[str]]) -> dict[tuple[str, str], NullCount]:
        """Rows without a value, of tables' columns."""
        assert isinstance(system.connection, PostgresConnection)
        return count_nulls(system.connection, columns)

    @classmethod
    def resources_of(cls, options: BaseModel) -> dict[str, str]:
        """The record's table and its list fields' tables."""
        assert isinstance(options, PostgresTarget)
        return {"": options.table, **{name: child.table for name, child in options.children.items()}}

    @classmethod
    def makes_tables(cls, options: BaseModel) -> bool:
        """Whether Sorbus makes the tables itself."""
        assert isinstance(options, PostgresTarget)
        return not options.existing

    @classmethod
    def fills(cls, options: BaseModel) -> dict[str, frozenset[str]]:
        """The record's id, and in list fields' tables the parent's and the item's place."""
        assert isinstance(options, PostgresTarget)
        items = {
            name: frozenset({child.parent, child.position or child.parent}) for name, child in options.children.items()
        }
        return {"": frozenset({options.key}), **items}

    def open(self) -> None:
        """Connects and looks the tables up. TransientError when they aren't there: `sorbus apply` makes them."""
        self.close()
        session = connect(self._connection, self._flow.flow.id)
        try:
            self._prepare(session)
        except BaseException:
            session.close()
            raise
        self._session = session

    def _prepare(self, session: Session) -> None:
        self._stages.clear()
        with postgres_errors(f"opening flow {self._flow.flow.id}"):
            names = {"": self._options.table, **{k: c.table for k, c in self._options.children.items()}, "!": APPLIED}
            for part, name in names.items():
                table = read_table(session, name)
                if table is None:
                    raise TransientError(f"there is no table {qualified(name)} yet; run `sorbus apply`")
                self._tables[part] = table
            self._parts = {part: without_absent_id(self._tables[part], found) for part, found in self._parts.items()}
            for part, found in self._parts.items():
                assignments = [item for item in found if not (part and self._is_added_id(item))]
                if missing := check_columns(self._tables[part], assignments):
                    table_name = self._tables[part].name
                    raise TransientError(f"{table_name} has no column {', '.join(missing)}; run `sorbus apply`")
            # A lock that somebody holds on the target shows as a pause, and doesn't hold up a stop.
            session.execute("set lock_timeout = '5s'")
            for statement in create_gone():
                session.execute(statement)
            self._deletes = delete(self._for_deletes(), False), delete(self._for_deletes(), True)
            session.commit()

    def check(self) -> None:
        """Whether the server answers."""
        assert self._session is not None
        with postgres_errors(f"asking {self._flow.system.name} whether it is there"):
            self._session.execute("select 1")
            self._session.rollback()

    def close(self) -> None:
        """Leaves the target; what is not committed is undone."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def apply(self, deliveries: Sequence[Delivery], *, again: bool = False, alone: bool = False) -> list[Refusal]:
        """One transaction for all that can be delivered; the refused come back, each with the target's own words."""
        self._opened()
        refusals: list[Refusal] = []
        packed: list[_Packed] = []
        for place, delivery in enumerate(deliveries):
            try:
                packed.append(self._pack(place, delivery))
            except PermanentError as error:
                refusals.append(Refusal(place, error))
        self._deliver(packed, refusals, again, alone)
        return refusals

    def needs(self) -> dict[str, str]:
        """The canonical fields that go as they are into columns that must have a value."""
        needed = {name for name, column in self._tables[""].columns.items() if column.required}
        return {one.source: one.into for one in self._parts[""] if one.source and not one.rule and one.into in needed}

    def preview(self, delivery: Delivery) -> Preview:
        """The row that would be written, or go. TransientError, AuthError."""
        session = self._opened()
        children = {name: (self._tables[name], child.parent) for name, child in self._options.children.items()}
        try:
            packed = self._pack(0, delivery)
            with postgres_errors(f"flow {self._flow.flow.id}"):
                return preview_write(
                    session,
                    delivery.id.decode(errors="replace"),
                    (self._tables[""], self._options.key),
                    children,
                    lambda: self._write(session, [packed], again=False, alone=False),
                    unshown=frozenset({VERSION_COLUMN}),
                )
        except PermanentError as error:
            return Preview("refuse", str(error))

    def look(self, id: str) -> Mapping[str, JsonValue] | None:
        """The record's row as it is now. TransientError, AuthError."""
        session = self._opened()
        with postgres_errors(f"looking into {self._flow.system.name}"), session.transaction():
            return read_row(session, id, (self._tables[""], self._options.key))

    def erase(self, id: str, *, dry_run: bool = False) -> Erased:
        """Blanks what soft or ignored deletes leave of the record's personal columns; see `sorbus.connector.Erases`."""
        session = self._opened()
        options, schema = self._options, self._flow.schema
        tables = [kept(self._tables[""], options.key, self._parts[""], "", schema)]
        for name, child in options.children.items():
            tables.append(kept(self._tables[name], child.parent, self._parts.get(name, ()), name, schema))
        with postgres_errors(f"erasing in {self._flow.system.name}"):
            stays = self._flow.flow.deletes != "hard"
            return erase_rows(session, id, tables, stays=stays, dry_run=dry_run)

    def _opened(self) -> Session:
        """The session. TransientError when there is none (not opened, or it was lost)."""
        if self._session is None or self._session.closed:
            raise TransientError(f"the connection of flow {self._flow.flow.id} is closed")
        return self._session

    def _pack(self, place: int, delivery: Delivery) -> _Packed:
        id, version, is_deleted, schema, data, at = delivery
        if is_deleted:
            return _Packed(place, delivery, None, b"", {})
        stage = self._stage(schema)
        row = stage.shape.packed(id, version, data, at)
        if row is not None:
            return _Packed(place, delivery, stage, row, {})
        return self._pack_with_values(place, delivery, stage)

    def _pack_with_values(self, place: int, delivery: Delivery, stage: _Stage) -> _Packed:
        id = text_cell(delivery.id)
        try:
            cells, items, end = stage.shape.row(delivery.data, delivery.at, delivery.id)
        except Undecodable as error:
            raise PermanentError(f"the record can't be decoded: {error}", reason="undecodable") from error
        if end != len(delivery.data):
            raise PermanentError(
                f"the record ends at byte {end} of {len(delivery.data)}: not what its schema says", reason="undecodable"
            )
        row = b"".join((row_start(len(cells) + 2), id, long_cell(delivery.version), *cells))
        if not items:
            return _Packed(place, delivery, stage, row, {})
        rows = {
            name: [b"".join((row_start(len(c) + 2), id, int_cell(n), *c)) for n, c in enumerate(found, 1)]
            for name, found in items.items()
        }
        return _Packed(place, delivery, stage, row, rows)

    def _deliver(self, packed: Sequence[_Packed], refusals: list[Refusal], again: bool, alone: bool) -> None:
        """Sets refused records aside: by the line PostgreSQL names, else halving until the refused one stands alone."""
        session = self._opened()
        left = [packed]
        while left:
            part = left.pop()
            if not part:
                continue
            try:
                with session.transaction():
                    self._write(session, part, again, alone)
                continue
            except psycopg.Error as error:
                found = as_error(error, f"flow {self._flow.flow.id}")
                if is_of_tables(error.sqlstate):  # no record can pass until somebody mends them
                    raise TransientError(str(found)) from error
                if not isinstance(found, PermanentError):
                    raise found from error
                context = copy_context(error)
            at = self._place_of(context, part) if context else None
            if at is None and len(part) == 1:
                at = 0
            if at is None:
                middle = len(part) // 2
                left += [part[middle:], part[:middle]]
                continue
            if found.field is None:
                found.field = (context and context.column) or self._uncastable(session, part[at])
            refusals.append(Refusal(part[at].place, found))
            left += [part[at + 1 :], part[:at]]

    def _place_of(self, context: CopyContext, part: Sequence[_Packed]) -> int | None:
        """Which record of a batch the COPY failed in."""
        line = 0
        for at, item in enumerate(part):
            if item.stage is None:
                line += context.table == GONE
            else:
                stage = item.stage
                line += context.table == stage.name
                line += sum(
                    len(item.items.get(name, ())) for name, table in stage.children.items() if table == context.table
                )
            if line >= context.line:
                return at
        return None

    def _uncastable(self, session: Session, item: _Packed) -> str | None:
        """The column whose value can't be made the target's, which PostgreSQL doesn't name: each is tried by itself."""
        stage = item.stage
        if stage is None:
            return None
        for column in stage.shape.stage:
            try:
                with session.transaction():
                    self._copy(session, stage.name, [item.row])
                    for statement in try_value(stage.name, column, self._tables[""].columns[column.name].native):
                        session.execute(statement)
            except psycopg.DataError:
                return column.name
        return None

    def _write(self, session: Session, packed: Sequence[_Packed], again: bool, alone: bool) -> None:
        gone = [item for item in packed if item.stage is None]
        # A deleted row of our own tables has nothing left that a late writer of an older state could wait for.
        alone = alone or bool(gone and VERSION_COLUMN in self._tables[""].columns)
        lock = "pg_advisory_xact_lock" if alone else "pg_advisory_xact_lock_shared"
        session.execute(sql.SQL("select {}(hashtext({}))").format(sql.SQL(lock), sql.Literal(self._relation)))
        if gone and self._flow.flow.deletes != "ignore":
            rows = [
                b"".join((row_start(2), text_cell(item.delivery.id), long_cell(item.delivery.version))) for item in gone
            ]
            self._copy(session, GONE, rows)
            for statement in self._deletes[again]:
                session.execute(statement)
            if len(gone) < len(packed):
                session.execute(forget_won())
        for place, stage in enumerate(self._stages.values()):
            items = [item for item in packed if item.stage is stage]
            if not items:
                continue
            if place:
                session.execute(forget_won())
            self._copy(session, stage.name, [item.row for item in items])
            for name, table in stage.children.items():
                self._copy(session, table, [row for item in items for row in item.items.get(name, ())])
            for statement in stage.statements[again]:
                session.execute(statement)

    def _copy(self, session: Session, table: str, rows: Sequence[bytes]) -> None:
        statement = sql.SQL("copy {} from stdin (format binary)").format(sql.Identifier(table))
        with session.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(b"".join((HEADER, *rows, TRAILER)))

    @property
    def _relation(self) -> str:
        return qualified(self._options.table)

    def _stage(self, schema: RecordSchema) -> _Stage:
        if schema.text not in self._stages:
            self._stages[schema.text] = self._make_stage(schema)
        return self._stages[schema.text]

    def _make_stage(self, schema: RecordSchema) -> _Stage:
        """A stage for one writer's schema. It is made outside the batch's transaction, and lives with the session."""
        session = self._opened()
        options, number = self._options, len(self._stages)
        shapes: dict[str, TableShape] = {}
        merges: list[ChildMerge] = []
        names: dict[str, str] = {}
        statements = []
        for field, child in options.children.items():
            writer = schema.by_name.get(field)
            item = writer.type.item if writer else None
            if item is None:
                continue
            columns = self._tables[field].columns
            own = {child.parent, child.position}
            shape = TableShape(
                [a for a in self._parts[field] if a.into not in own and not self._is_added_id(a)],
                columns,
                item.fields,
                defaults={},
                children={},
            )
            shapes[field], names[field] = shape, f"sorbus_stage{number}_{field}"[:63]
            statements.append(create_stage(names[field], shape.stage, is_child=True))
            parent_type = columns[child.parent].unbounded
            merges.append(
                ChildMerge(
                    names[field], self._tables[field].identifier, child.parent, parent_type, child.position, shape.stage
                )
            )
        assignments = [a for a in self._parts[""] if a.into != options.key]
        shape = TableShape(
            assignments, self._tables[""].columns, schema.fields, defaults=self._defaults, children=shapes
        )
        name = f"sorbus_stage{number}"
        statements.append(create_stage(name, shape.stage, is_child=False))
        with postgres_errors(f"preparing flow {self._flow.flow.id}"):
            for statement in statements:
                session.execute(statement)
            session.commit()
        merge = self._merge(name, shape.stage, merges)
        return _Stage(shape, name, names, (upsert(merge, False), upsert(merge, True)))

    def _is_added_id(self, assignment: Assignment) -> bool:
        """The parent's id among same-named fields: the parent column has it already."""
        return assignment.row is None and assignment.source == "id"

    def _merge(self, stage: str, columns: Sequence[StageColumn], children: Sequence[ChildMerge]) -> Merge:
        options = self._options
        table = self._tables[""]
        return Merge(
            self._relation,
            stage,
            table.identifier,
            options.key,
            table.columns[options.key].unbounded,
            columns,
            children,
            VERSION_COLUMN in table.columns,
            options.deleted_column if self._flow.flow.deletes == "soft" else None,
        )

    def _for_deletes(self) -> Merge:
        children = [
            ChildMerge("", table.identifier, child.parent, table.columns[child.parent].unbounded, child.position, ())
            for name, child in self._options.children.items()
            for table in [self._tables[name]]
        ]
        return self._merge("", (), children)
