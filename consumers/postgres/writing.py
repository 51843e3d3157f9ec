"""Writing packed deliveries into the target: stages, COPY, the guarded merge, and unique values that move."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import psycopg
from psycopg import sql

from sorbus.bus.names import Names
from sorbus.connector import BoundFlow, Delivery
from sorbus.consumers.isolate import Written
from sorbus.consumers.postgres.cells import HEADER, TRAILER, long_cell, row_start, text_cell
from sorbus.consumers.postgres.faults import copy_context, try_value
from sorbus.consumers.postgres.merge import (
    GONE,
    ChildMerge,
    Merge,
    create_gone,
    create_stage,
    delete,
    forget_won,
    newer,
    upsert,
)
from sorbus.consumers.postgres.options import PostgresTarget
from sorbus.consumers.postgres.packed import Packed, Stage
from sorbus.consumers.postgres.shape import StageColumn, TableShape
from sorbus.consumers.postgres.tables import VERSION_COLUMN
from sorbus.consumers.postgres.unique_swaps import create_parked, park, read_unique, still_parked
from sorbus.mapping.assign import Assignment, Parts
from sorbus.postgres.catalog import Table, qualified
from sorbus.postgres.connection import Connection, postgres_errors
from sorbus.postgres.delivery_note import write_note
from sorbus.postgres.sqlstate import of_error
from sorbus.schema import RecordSchema
from sorbus.two_way.expand import proposals_of
from sorbus.write_fault import About


class Writing:
    """One session's statements for one flow. `tables`: the record's ("") and each list field's."""

    def __init__(
        self,
        session: Connection,
        flow: BoundFlow,
        parts: Parts,
        tables: Mapping[str, Table],
        applied: sql.Identifier,
        obstacle: Callable[[], str | None],
    ) -> None:
        """Makes the session's temporary tables, in the transaction in progress."""
        assert isinstance(flow.options, PostgresTarget)
        self._session, self._flow, self._options = session, flow, flow.options
        self._parts, self._tables, self._applied = parts, tables, applied
        self.obstacle = obstacle
        self._stages: dict[str, Stage] = {}
        self._again = self._alone = False
        self.is_dry_run = False
        """Whether an outer transaction undoes everything in the end: what a commit would do is then done at once."""
        self.changed_nothing = False
        """Whether the target took less than it was given since `begin`."""
        self._relation = qualified(tables[""].name)
        self._shown_in = None
        """The topic of what the target shows, if it may change records too."""
        if flow.flow.direction == "two-way":
            shown = proposals_of(flow.flow.data_type, flow.system.name)
            self._shown_in = Names(flow.system.topic_prefix).topic(shown)
        self._defaults = {
            field.name: field.default
            for field in flow.schema.fields
            if field.has_default and isinstance(field.default, str | int | bool | None)
        }
        for statement in [*create_gone(), *create_parked()]:
            session.execute(statement)
        self._unique = read_unique(session, tables[""], self._options.key)
        self._deletes = delete(self._for_deletes(), False), delete(self._for_deletes(), True)

    def begin(self, *, again: bool, alone: bool) -> None:
        """How the next batch is to be written; see `sorbus.connector.Consumer.apply`."""
        self._again, self._alone, self.changed_nothing = again, alone, False

    def write(self, items: Sequence[Packed], *, again: bool | None = None) -> Written:
        """Writes them in the transaction in progress."""
        gone = [item for item in items if item.stage is None]
        if self.is_dry_run:
            self._clear()
        # A deleted row of our own tables has nothing left that a late writer of an older state could wait for.
        self.lock(alone=self._alone or bool(gone and self._is_ours))
        written = self._write(items, self._again if again is None else again)
        if self.is_dry_run:
            self._session.execute("set constraints all immediate")
        return written

    def move(self, items: Sequence[Packed]) -> list[tuple[Packed, psycopg.Error]]:
        """Writes them in a transaction in which unique values can move; those that could not be part of it."""
        out: list[tuple[Packed, psycopg.Error]] = []
        spared: set[bytes] = set()
        rest = list(items)
        while rest:
            skipped: list[str] = []
            with self._session.transaction() as attempt:
                failed = self._move_once(rest, spared)
                if not failed:
                    self._session.execute("set constraints all immediate")
                    rows = self._session.execute(still_parked(self._tables[""].identifier)).fetchall()
                    skipped = [str(id) for (id,) in rows]
                if failed or skipped:
                    raise psycopg.Rollback(attempt)
            if not failed and not skipped:
                return out
            spared |= {id.encode() for id in skipped}
            out += failed
            bad = {item.place for item, _ in failed}
            rest = [item for item in rest if item.place not in bad]
        return out

    def place_of(self, error: psycopg.Error, items: Sequence[Packed]) -> int | None:
        """Which item a COPY failed in; None when something else failed."""
        context = copy_context(error)
        line = 0
        for at, item in enumerate(items if context else ()):
            assert context is not None
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

    def field_of(self, error: psycopg.Error, item: Packed) -> str | None:
        """The column whose value can't be made the target's: as COPY names it, or found by trying each."""
        context = copy_context(error)
        if context is not None and context.column is not None:
            return context.column
        stage = item.stage
        if stage is None or not isinstance(error, psycopg.DataError):
            return None
        for column in stage.shape.stage:
            try:
                with self._session.transaction(force_rollback=True):
                    self._copy(stage.name, [item.row])
                    for statement in try_value(stage.name, column, self._tables[""].columns[column.name].native):
                        self._session.execute(statement)
            except psycopg.DataError:
                return column.name
        return None

    def stage(self, schema: RecordSchema) -> Stage:
        """The stage for records as this writer lays them out."""
        if schema.text not in self._stages:
            self._stages[schema.text] = self._make_stage(schema)
        return self._stages[schema.text]

    def newer(self, deliveries: Sequence[Delivery]) -> dict[bytes, int]:
        """Of records that could be written: id -> the version in the target, where that is newer."""
        statement = newer(self._for_deletes())
        given = [one.id.decode() for one in deliveries], [one.version for one in deliveries]
        with self._session.transaction():
            found = self._session.execute(statement, given).fetchall()
        return {str(id).encode(): cast("int", version) for id, version in found}

    def fill(self, items: Sequence[Packed]) -> None:
        """Puts packed records into their stages, in the transaction in progress, and writes nothing else."""
        for stage in self._stages.values():
            if rows := [item for item in items if item.stage is stage]:
                self._fill(stage, rows)

    def explained(self) -> list[psycopg.Error]:
        """What the server has against the statements that write and delete; nothing is written."""
        stage = self.stage(self._flow.schema)
        deletes = self._deletes[False] if self._flow.flow.deletes != "ignore" else []
        errors = []
        for statement in [*stage.statements[False], *deletes]:
            try:
                with self._session.transaction(force_rollback=True):
                    self._session.execute(sql.SQL("explain {}").format(statement))
            except psycopg.Error as error:
                if self._session.closed or of_error(error) in _NOT_A_RECORDS:
                    raise
                errors.append(error)
        return errors

    def lock(self, *, alone: bool) -> None:
        """Holds off other writers of the table until the transaction ends: all of them, or those `alone`."""
        if not self.is_dry_run:  # which no other writer sees, and which must not hold them up until its end
            lock = "pg_advisory_xact_lock" if alone else "pg_advisory_xact_lock_shared"
            self._session.execute(sql.SQL("select {}(hashtext({}))").format(sql.SQL(lock), sql.Literal(self._relation)))
        # Deferrable constraints look at what a transaction leaves, not at each step.
        self._session.execute("set constraints all deferred")

    def _write(self, items: Sequence[Packed], again: bool) -> Written:
        if self._shown_in is not None:
            write_note(self._session, self._shown_in, {item.delivery.id: item.delivery.version for item in items})
        gone = [item for item in items if item.stage is None]
        has_changed, changed, deleted = False, 0, 0
        created: int | None = 0
        if gone and self._flow.flow.deletes != "ignore":
            self._copy(GONE, [_gone_row(item) for item in gone])
            done = [self._session.execute(statement).rowcount for statement in self._deletes[again]]
            self.changed_nothing = self.changed_nothing or min(done[0], done[-1]) < len(gone)
            deleted = done[0 if self._is_ours else -1]
            has_changed = max(done) > 0
            if len(gone) < len(items):
                self._session.execute(forget_won())
        for place, stage in enumerate(self._stages.values()):
            rows = [item for item in items if item.stage is stage]
            if not rows:
                continue
            if place:
                self._session.execute(forget_won())
            self._fill(stage, rows)
            counts = [_count(self._session.execute(statement)) for statement in stage.statements[again]]
            wrote, fresh = counts[0 if self._is_ours else 1]
            changed += wrote
            created = None if fresh is None or created is None else created + fresh
            self.changed_nothing = self.changed_nothing or counts[0][0] < len(rows)
            has_changed = has_changed or any(count for count, _ in counts)
        return Written(changed, created, deleted, has_changed)

    @property
    def _is_ours(self) -> bool:
        return VERSION_COLUMN in self._tables[""].columns

    def _move_once(self, items: Sequence[Packed], spared: set[bytes]) -> list[tuple[Packed, psycopg.Error]]:
        """Parks what moves and writes the items within the transaction in progress; those that fail."""
        if self.is_dry_run:
            self._clear()
        self.lock(alone=True)  # a parked row must not be seen or overtaken by another writer
        gone = [item for item in items if item.stage is None]
        failed = self._each(gone)
        for stage in self._stages.values():
            rows = [item for item in items if item.stage is stage]
            parking = stage.park[self._again]
            if parking is None or not rows:
                continue
            self._session.execute("delete from sorbus_spared")
            for id in spared:
                self._session.execute("insert into sorbus_spared values (%s)", (id.decode(),))
            try:
                with self._session.transaction():
                    self._empty(stage)
                    self._fill(stage, rows)
                    self._session.execute(parking)
            except psycopg.Error as error:  # a check or a trigger refuses the placeholders
                if self._session.closed or of_error(error) in _NOT_A_RECORDS:
                    raise
            self._empty(stage)
        return failed + self._each([item for item in items if item.stage is not None])

    def _each(self, items: Sequence[Packed]) -> list[tuple[Packed, psycopg.Error]]:
        """Writes items so that one's failure leaves the others; those that fail."""
        failed = []
        left = [items]
        while left:
            part = left.pop()
            if not part:
                continue
            try:
                with self._session.transaction():
                    self._session.execute(sql.SQL("delete from {}").format(sql.Identifier(GONE)))
                    self._session.execute(forget_won())
                    for stage in {id(item.stage): item.stage for item in part if item.stage is not None}.values():
                        self._empty(stage)
                    self._write(part, self._again)
            except psycopg.Error as error:
                if self._session.closed or of_error(error) in _NOT_A_RECORDS:
                    raise
                if len(part) == 1:
                    failed.append((part[0], error))
                    continue
                middle = len(part) // 2
                left += [part[middle:], part[:middle]]
        return failed

    def _fill(self, stage: Stage, items: Sequence[Packed]) -> None:
        self._copy(stage.name, [item.row for item in items])
        for name, table in stage.children.items():
            self._copy(table, [row for item in items for row in item.items.get(name, ())])

    def _clear(self) -> None:
        """Empties the session's tables, as a commit does."""
        for table in (GONE, "sorbus_won", "sorbus_parked", "sorbus_spared"):
            self._session.execute(sql.SQL("delete from {}").format(sql.Identifier(table)))
        for stage in self._stages.values():
            self._empty(stage)

    def _empty(self, stage: Stage) -> None:
        for table in (stage.name, *stage.children.values()):
            self._session.execute(sql.SQL("delete from {}").format(sql.Identifier(table)))

    def _copy(self, table: str, rows: Sequence[bytes]) -> None:
        statement = sql.SQL("copy {} from stdin (format binary)").format(sql.Identifier(table))
        with self._session.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(b"".join((HEADER, *rows, TRAILER)))

    def _make_stage(self, schema: RecordSchema) -> Stage:
        """A stage for one writer's schema. It is made outside the batch's transaction, and lives with the session."""
        session = self._session
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
                [a for a in self._parts[field] if a.into not in own and not is_added_id(a)],
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
            assignments,
            self._tables[""].columns,
            schema.fields,
            defaults=self._defaults,
            children=shapes,
            holds=self._flow.flow.on_incomplete != "pass",
        )
        name = f"sorbus_stage{number}"
        statements.append(create_stage(name, shape.stage, is_child=False))
        with postgres_errors(f"preparing flow {self._flow.flow.id}"):
            for statement in statements:
                session.execute(statement)
            if not self.is_dry_run:
                session.commit()
        merge = self.merge(name, shape.stage, merges)
        parks = park(merge, self._tables[""], self._unique, False), park(merge, self._tables[""], self._unique, True)
        return Stage(shape, name, names, (upsert(merge, False), upsert(merge, True)), parks)

    def merge(self, stage: str, columns: Sequence[StageColumn], children: Sequence[ChildMerge]) -> Merge:
        """What the statements that merge a stage into the target are made of."""
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
            self._is_ours,
            options.deleted_column if self._flow.flow.deletes == "soft" else None,
            self._applied,
            options.creates,
            table.is_plain,
        )

    def _for_deletes(self) -> Merge:
        children = [
            ChildMerge("", table.identifier, child.parent, table.columns[child.parent].unbounded, child.position, ())
            for name, child in self._options.children.items()
            for table in [self._tables[name]]
        ]
        return self.merge("", (), children)


_NOT_A_RECORDS = frozenset({About.SYSTEM, About.LOAD})


def _count(done: psycopg.Cursor[tuple[object, ...]]) -> tuple[int, int | None]:
    """Rows that a statement wrote, and how many of them are new, where it says so."""
    if done.description is None:
        return done.rowcount, None
    row = done.fetchone()
    assert row is not None
    return cast("int", row[0]), cast("int", row[1])


def is_added_id(assignment: Assignment) -> bool:
    """The parent's id among same-named fields: the parent column has it already."""
    return assignment.row is None and assignment.source == "id"


def _gone_row(item: Packed) -> bytes:
    return b"".join((row_start(2), text_cell(item.delivery.id), long_cell(item.delivery.version)))
