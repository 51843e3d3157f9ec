"""The PostgreSQL consumer: one transaction a batch; a refused record is set aside alone, its neighbours land."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import BaseModel, JsonValue

from sorbus.abilities import Erased, NullCount, Preview, Resource, older_preview
from sorbus.avro.decode import Undecodable
from sorbus.connector import BoundFlow, BoundSystem, Delivery, RejectedDelivery, Step
from sorbus.consumers.postgres.cells import int_cell, long_cell, row_start, text_cell
from sorbus.consumers.postgres.check import obstacles, plan_obstacles
from sorbus.consumers.postgres.erase import erase_rows, kept
from sorbus.consumers.postgres.isolate import Isolation
from sorbus.consumers.postgres.narrow import target_warnings
from sorbus.consumers.postgres.options import PostgresTarget
from sorbus.consumers.postgres.packed import Packed, Stage
from sorbus.consumers.postgres.preview import preview_write, read_row
from sorbus.consumers.postgres.shape import INCOMPLETE
from sorbus.consumers.postgres.tables import (
    APPLIED,
    VERSION_COLUMN,
    check_columns,
    find_applied,
    plan_target,
    target_parts,
    without_absent_id,
)
from sorbus.consumers.postgres.writing import Writing, is_added_id
from sorbus.diagnosis import Diagnosis
from sorbus.errors import AuthError, PermanentError, TransientError
from sorbus.postgres.catalog import Table, discover_tables, qualified, read_table
from sorbus.postgres.connection import Connection as Session
from sorbus.postgres.connection import PostgresConnection, connect, postgres_errors
from sorbus.postgres.diagnose import diagnose_server
from sorbus.postgres.location import location
from sorbus.postgres.nulls import count_nulls
from sorbus.waiting.complete import lacking


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
        self._tables: dict[str, Table] = {}

    @classmethod
    def plan(cls, flow: BoundFlow) -> list[Step]:
        """What has to change in the database before the flow's consumer can run."""
        steps = plan_target(flow)
        if any(step.what != f"table {APPLIED}" for step in steps):
            return steps  # they change the tables that would be looked at
        return [*steps, *plan_obstacles(flow)]

    @classmethod
    def target_warnings(cls, flow: BoundFlow) -> list[str]:
        """Columns that keep less than their fields hold: see `narrow.py`."""
        return target_warnings(flow)

    @classmethod
    def diagnose(cls, system: BoundSystem) -> Iterator[Diagnosis]:
        """How the server is: see `sorbus/postgres/diagnose.py`."""
        assert isinstance(system.connection, PostgresConnection)
        return diagnose_server(system.name, system.connection)

    @classmethod
    def discover(cls, system: BoundSystem) -> list[Resource]:
        """Every table of the database."""
        return discover_tables(system)

    @classmethod
    def location(cls, system: BoundSystem, *, ask: bool = False) -> str | None:
        """Which database it is."""
        assert isinstance(system.connection, PostgresConnection)
        return location(system.connection, ask=ask)

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
        flow = self._flow.flow.id
        with postgres_errors(f"opening flow {flow}"):
            names = {"": self._options.table, **{k: c.table for k, c in self._options.children.items()}}
            for part, name in names.items():
                table = read_table(session, name)
                if table is None:
                    raise TransientError(f"there is no table {qualified(name)} yet; run `sorbus apply`")
                self._tables[part] = table
            self._parts = {part: without_absent_id(self._tables[part], found) for part, found in self._parts.items()}
            for part, found in self._parts.items():
                assignments = [item for item in found if not (part and is_added_id(item))]
                if missing := check_columns(self._tables[part], assignments):
                    table_name = self._tables[part].name
                    raise TransientError(f"{table_name} has no column {', '.join(missing)}; run `sorbus apply`")
            # A lock that somebody holds on the target shows as a pause, and doesn't hold up a stop.
            session.execute("set lock_timeout = '5s'")
            applied = find_applied(session, self._options.table)
            if applied is None:
                raise TransientError(f"there is no table {APPLIED} yet; run `sorbus apply`")
            writing = Writing(session, self._flow, self._parts, self._tables, applied, self._obstacle)
            session.commit()
            in_the_way = obstacles(session, self._flow, self._tables, writing)
            session.commit()
        if in_the_way:
            kind = AuthError if any(one.state == "42501" for one in in_the_way) else TransientError
            raise kind(f"flow {flow} can't deliver: {'; '.join(map(str, in_the_way))}")
        self._writing = writing
        self._isolation = Isolation(session, writing, flow, self._flow.flow.data_type, self._flow.system.name)

    def _obstacle(self) -> str | None:
        """What has come to keep every record out since the flow was opened."""
        session = self._opened()
        with session.transaction(force_rollback=True):
            for table in self._tables.values():
                now = read_table(session, table.name)
                if now is None or now.oid != table.oid or now.columns != table.columns:
                    return f"{table.name} has changed since the flow started"
            found = obstacles(session, self._flow, self._tables, self._writing)
        return "; ".join(map(str, found)) or None

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

    def apply(
        self, deliveries: Sequence[Delivery], *, again: bool = False, alone: bool = False
    ) -> list[RejectedDelivery]:
        """One transaction for all that can be delivered; the refused come back, each with the target's own words."""
        self._opened()
        refusals: list[RejectedDelivery] = []
        packed: list[Packed] = []
        for place, delivery in enumerate(deliveries):
            try:
                packed.append(self._pack(place, delivery))
            except PermanentError as error:
                refusals.append(RejectedDelivery(place, error))
        self._writing.begin(again=again, alone=alone)
        return refusals + self._isolation.deliver(packed)

    def newer(self, deliveries: Sequence[Delivery]) -> dict[bytes, int]:
        """See `sorbus.abilities.SupportsVersions`."""
        if not self._writing.changed_nothing:
            return {}
        with postgres_errors(f"reading versions in {self._flow.system.name}"):
            return self._newer(deliveries)

    def _newer(self, deliveries: Sequence[Delivery]) -> dict[bytes, int]:
        writes = self._flow.flow.deletes != "ignore"
        self._opened()
        return self._writing.newer([one for one in deliveries if writes or not one.deleted])

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
                shown = preview_write(
                    session,
                    delivery.id.decode(errors="replace"),
                    (self._tables[""], self._options.key),
                    children,
                    lambda: self._writing.write([packed], again=False),
                    unshown=frozenset({VERSION_COLUMN}),
                )
                newer = self._newer([delivery]) if shown.action == "nothing" else {}
            return older_preview(delivery.version, newer[delivery.id]) if newer else shown
        except PermanentError as error:
            return Preview("refuse", str(error))

    def look(self, id: str) -> Mapping[str, JsonValue] | None:
        """The record's row as it is now. TransientError, AuthError."""
        session = self._opened()
        with postgres_errors(f"looking into {self._flow.system.name}"), session.transaction():
            return read_row(session, id, (self._tables[""], self._options.key))

    def erase(self, id: str, *, dry_run: bool = False) -> Erased:
        """Blanks what soft or ignored deletes leave of the record's personal columns; see `SupportsErasure`."""
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

    def _pack(self, place: int, delivery: Delivery) -> Packed:
        id, version, is_deleted, schema, data, at = delivery
        if is_deleted:
            return Packed(place, delivery, None, b"", {})
        stage = self._writing.stage(schema)
        row = stage.shape.packed(id, version, data, at)
        if row is not None:
            return Packed(place, delivery, stage, row, {})
        return self._pack_with_values(place, delivery, stage)

    def _pack_with_values(self, place: int, delivery: Delivery, stage: Stage) -> Packed:
        id = text_cell(delivery.id)
        try:
            cells, items, end = stage.shape.row(delivery.data, delivery.at, delivery.id)
        except Undecodable as error:
            raise PermanentError(f"the record can't be decoded: {error}", reason="undecodable") from error
        except PermanentError as error:
            if error.reason != INCOMPLETE or self._flow.flow.on_incomplete == "pass":
                raise
            item = next(one for one in self._parts[""] if one.into == error.field)
            uses = sorted(item.rule.uses) if item.rule else []
            names = [item.source] if item.source else uses or [item.into]
            raise lacking(self._flow, delivery.id.decode(errors="replace"), names) from error
        if end != len(delivery.data):
            raise PermanentError(
                f"the record ends at byte {end} of {len(delivery.data)}: not what its schema says", reason="undecodable"
            )
        row = b"".join((row_start(len(cells) + 2), id, long_cell(delivery.version), *cells))
        if not items:
            return Packed(place, delivery, stage, row, {})
        rows = {
            name: [b"".join((row_start(len(c) + 2), id, int_cell(n), *c)) for n, c in enumerate(found, 1)]
            for name, found in items.items()
        }
        return Packed(place, delivery, stage, row, rows)
