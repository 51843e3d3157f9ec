"""The temporary tables that one session stages records in, one set for each writer's schema, and their statements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from psycopg import sql

from sorbus.connector import BoundFlow
from sorbus.consumers.postgres.declarations import has_triggers
from sorbus.consumers.postgres.key_kind import key_kind
from sorbus.consumers.postgres.merge import (
    GONE,
    ChildMerge,
    Merge,
    create_gone,
    create_stage,
    delete,
    upsert,
    upsert_given,
)
from sorbus.consumers.postgres.options import PostgresTarget
from sorbus.consumers.postgres.packed import Packed, Stage
from sorbus.consumers.postgres.shape import StageColumn, TableShape
from sorbus.consumers.postgres.staging import Given, Staging
from sorbus.consumers.postgres.tables import VERSION_COLUMN
from sorbus.consumers.postgres.unique_swaps import create_parked, park, read_unique
from sorbus.mapping.assign import Assignment, Parts
from sorbus.mapping.default import default_values
from sorbus.postgres.catalog import Table, qualified
from sorbus.postgres.connection import Connection, postgres_errors
from sorbus.schema import RecordSchema

Fill = Callable[[str, Sequence[bytes]], None]
"""Gives packed rows to a temporary table."""


class Stages:
    """One session's, for one flow. `tables`: the record's ("") and each list field's."""

    def __init__(
        self,
        session: Connection,
        flow: BoundFlow,
        parts: Parts,
        tables: Mapping[str, Table],
        applied: sql.Identifier,
    ) -> None:
        """Makes the tables that all stages share, in the transaction in progress."""
        assert isinstance(flow.options, PostgresTarget)
        self._session, self._flow, self._options = session, flow, flow.options
        self._parts, self._tables, self._applied = parts, tables, applied
        keys = {name: child.parent for name, child in self._options.children.items()} | {"": self._options.key}
        self.kinds = {part: key_kind(session, tables[part], key) for part, key in keys.items()}
        """How the key column ("") and each list's parent column tell ids apart."""
        self._stages: dict[str, Stage] = {}
        self.staging = Staging(session)
        self.is_kept = True
        """Whether a new stage is committed: not where an outer transaction is to be undone."""
        self.relation = qualified(tables[""].name)
        self._defaults = default_values(flow.schema.fields)
        items = {name: flow.schema.by_name[name].type.item for name in self._options.children}
        self._item_defaults = {name: default_values(item.fields) for name, item in items.items() if item is not None}
        self._emptied = {
            name: item for name, item in items.items() if name in self._defaults and not self._defaults[name]
        }
        """Lists that are empty where a writer's schema doesn't have them: field -> the type of its items."""
        for statement in [*create_gone(), *create_parked()]:
            session.execute(statement)
        row = session.execute(sql.SQL("select {}").format(has_triggers(tables[""]))).fetchone()
        self._has_triggers = bool(row and row[0])
        self._insert_gone = self.staging.insert(GONE)
        self._unique = read_unique(session, tables[""], self._options.key)
        found = delete(self.merge_of_deletes(), False), delete(self.merge_of_deletes(), True)
        self.deletes = rendered(found[0], session), rendered(found[1], session)

    def __iter__(self) -> Iterator[Stage]:
        """Those made so far."""
        return iter(self._stages.values())

    @property
    def is_ours(self) -> bool:
        """Whether Sorbus made the record's table, with a column for the version."""
        return VERSION_COLUMN in self._tables[""].columns

    def of(self, schema: RecordSchema) -> Stage:
        """The stage for records as this writer lays them out."""
        if schema.text not in self._stages:
            self._stages[schema.text] = self._make_stage(schema)
        return self._stages[schema.text]

    def take_arrays(self, stages: Sequence[Stage]) -> bool:
        """Whether rows can be given to these stages, and to that of deletes, as arrays."""
        return None not in [self._insert_gone, *(one for stage in stages for one in stage.inserts.values())]

    def insert(self, table: str, rows: Sequence[bytes]) -> None:
        """Gives rows as arrays. psycopg.Error."""
        inserts = {GONE: self._insert_gone, **{name: one for stage in self for name, one in stage.inserts.items()}}
        given = inserts[table]
        assert given is not None
        self.staging.execute(given, rows)

    def fill(self, stage: Stage, items: Sequence[Packed], fill: Fill) -> None:
        """Gives the records' rows and those of their lists. psycopg.Error."""
        fill(stage.name, [item.row for item in items])
        for name, table in stage.children.items():
            if rows := [row for item in items for row in item.items.get(name, ())]:
                fill(table, rows)

    def clear(self) -> None:
        """Empties the session's tables, as a commit does."""
        for table in (GONE, "sorbus_won", "sorbus_parked", "sorbus_spared"):
            self._session.execute(sql.SQL("delete from {}").format(sql.Identifier(table)))
        for stage in self:
            self.empty(stage)

    def empty(self, stage: Stage) -> None:
        """Of one stage."""
        for table in (stage.name, *stage.children.values()):
            self._session.execute(sql.SQL("delete from {}").format(sql.Identifier(table)))

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
            item = writer.type.item if writer else self._emptied.get(field)
            if item is None:
                continue
            columns = self._tables[field].columns
            own = {child.parent, child.position}
            shape = TableShape(
                [a for a in self._parts[field] if a.into not in own and not is_added_id(a)],
                columns,
                item.fields,
                defaults=self._item_defaults[field],
                children={},
            )
            names[field] = f"sorbus_stage{number}_{field}"[:63]
            if writer is not None:
                shapes[field] = shape
            statements.append(create_stage(names[field], shape.stage, is_child=True))
            merges.append(self.child_merge(field, names[field], shape.stage))
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
            inserts = {table: self.staging.insert(table) for table in (name, *names.values())}
            merge = self.merge(name, shape.stage, merges)
            given = self._given_by(merge, again=False), self._given_by(merge, again=True)
            if self.is_kept:
                session.commit()
        parks = park(merge, self._tables[""], self._unique, False), park(merge, self._tables[""], self._unique, True)
        return Stage(
            shape,
            name,
            names,
            (rendered(upsert(merge, False), session), rendered(upsert(merge, True), session)),
            parks,
            given,
            inserts,
        )

    def _given_by(self, merge: Merge, *, again: bool) -> Given | None:
        found = self.staging.arrays(merge.stage)
        statement = found and upsert_given(merge, found[0], again)
        return Given(statement.as_bytes(self._session), found[1]) if found and statement else None

    def merge(self, stage: str, columns: Sequence[StageColumn], children: Sequence[ChildMerge]) -> Merge:
        """What the statements that merge a stage into the target are made of."""
        options = self._options
        table = self._tables[""]
        is_soft = self._flow.flow.deletes == "soft"
        # A table whose flow marked deleted records once has the column still, and marks in it.
        is_marked = is_soft or (self.is_ours and options.deleted_column in table.columns)
        return Merge(
            self.relation,
            stage,
            table.identifier,
            options.key,
            table.columns[options.key].unbounded,
            columns,
            children,
            self.is_ours,
            options.deleted_column if is_soft else None,
            self._applied,
            options.creates,
            table.is_plain,
            options.deleted_column if is_marked else None,
            table.columns[options.key].native if self._has_triggers else "",
        )

    def child_merge(self, part: str, stage: str, columns: Sequence[StageColumn]) -> ChildMerge:
        """The same of a list's table."""
        table, child = self._tables[part], self._options.children[part]
        return ChildMerge(
            stage,
            table.identifier,
            child.parent,
            table.columns[child.parent].unbounded,
            child.position,
            columns,
            by_text=self.kinds[part].plain != "" and not self.kinds[part].covers(self.kinds[""]),
        )

    def merge_of_deletes(self) -> Merge:
        """The same for deletes, which have no values."""
        return self.merge("", (), [self.child_merge(part, "", ()) for part in self._options.children])


def rendered(statements: Sequence[sql.Composed], session: Connection) -> list[bytes]:
    """As they are sent: made once, not with each batch."""
    return [statement.as_bytes(session) for statement in statements]


def is_added_id(assignment: Assignment) -> bool:
    """The parent's id among same-named fields: the parent column has it already."""
    return assignment.row is None and assignment.source == "id"
