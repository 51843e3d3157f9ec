"""The MySQL consumer: one transaction a batch; a refused record is set aside alone, the others are written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from pydantic import BaseModel, JsonValue

from sorbus.abilities import Erased, Preview, Progress, TargetTotals, older_preview
from sorbus.connector import BoundFlow, BoundSystem, Delivery, RejectedDelivery, Step
from sorbus.consumers.isolate import Isolation
from sorbus.consumers.mysql.erase import erase_rows
from sorbus.consumers.mysql.options import MysqlTarget
from sorbus.consumers.mysql.other_ids import other_ids, plan_other_ids
from sorbus.consumers.mysql.progress import read_progress, write_progress
from sorbus.consumers.mysql.record_rows import MysqlRow, RecordRows, is_in_table
from sorbus.consumers.mysql.tables import APPLIED, applied_name, obstacles, plan_target, target_parts
from sorbus.consumers.mysql.totals import read_totals
from sorbus.consumers.mysql.writing import MysqlEngine, MysqlWriting
from sorbus.diagnosis import Diagnosis
from sorbus.dry_run import DryRunReads
from sorbus.errors import MustWait, PermanentError, TransientError
from sorbus.mysql.catalog import MysqlTable, read_mysql_table
from sorbus.mysql.connection import Session, mysql_errors, quoted, session_for
from sorbus.mysql.discovery import MysqlDiscovery, connection_of
from sorbus.mysql.faults import about_error
from sorbus.write_fault import About


class MysqlConsumer(MysqlDiscovery):
    """Delivers one flow into one table (with its list fields' tables) of a MySQL database."""

    Target: type[BaseModel] = MysqlTarget
    shares_process = True

    def __init__(self, flow: BoundFlow) -> None:
        assert isinstance(flow.options, MysqlTarget)
        self._flow, self._options = flow, flow.options
        self._connection = connection_of(flow.system)
        self._session: Session | None = None
        self._rows: RecordRows | None = None
        self._writing: MysqlWriting | None = None
        self._isolation: Isolation[MysqlRow, Exception] | None = None
        self._tables: dict[str, MysqlTable] = {}
        self._outcomes: Counter[str] = Counter()

    @classmethod
    def place_of(cls, flow: BoundFlow) -> str:
        """See `sorbus.abilities.NeedsOwnPlace`: rows and versions are kept by id alone."""
        assert isinstance(flow.options, MysqlTarget)
        table = flow.options.table
        table = table if "." in table else f"{connection_of(flow.system).database}.{table}"
        shared = f" (shared by {flow.flow.data_type})" if flow.options.shared else ""
        return f"table {table} of {flow.flow.to}{shared}"

    @classmethod
    def plan(cls, flow: BoundFlow) -> list[Step]:
        """What has to change in the database before the flow's consumer can run."""
        return [*plan_target(flow), *plan_other_ids(flow)]

    @classmethod
    def diagnose(cls, system: BoundSystem) -> Iterator[Diagnosis]:
        """Its version."""
        with session_for(connection_of(system), "doctor", f"examining {system.name}") as session:
            yield Diagnosis(system.name, "version", session.value("select version()") or "?")

    @classmethod
    def totals(cls, flow: BoundFlow, sums: Sequence[str]) -> TargetTotals:
        """What the target holds: see `totals.py`."""
        return read_totals(flow, sums)

    @classmethod
    def resources_of(cls, options: BaseModel) -> dict[str, str]:
        """The record's table and its list fields' tables."""
        assert isinstance(options, MysqlTarget)
        return options.tables

    @classmethod
    def makes_tables(cls, options: BaseModel) -> bool:
        """Whether Sorbus makes the tables itself."""
        assert isinstance(options, MysqlTarget)
        return not options.existing

    @classmethod
    def fills(cls, options: BaseModel) -> dict[str, frozenset[str]]:
        """The record's id, and in list fields' tables the parent's and the item's place."""
        assert isinstance(options, MysqlTarget)
        items = {name: frozenset({one.parent, one.position or one.parent}) for name, one in options.children.items()}
        return {"": frozenset({options.key}), **items}

    def open(self) -> None:
        """Connects and looks the tables up. TransientError when they aren't there: `sorbus apply` makes them."""
        self.close()
        session = self._session = Session(self._connection, self._flow.flow.id, many_statements=True)
        with target_errors(f"opening flow {self._flow.flow.id}"):
            session.execute("set session transaction isolation level read committed")
            session.execute("set session innodb_lock_wait_timeout = 5")
            for part, name in self._options.tables.items():
                table = read_mysql_table(session, name, self._connection.database)
                if table is None:
                    raise TransientError(f"there is no table {name} yet; run `sorbus apply`")
                self._tables[part] = table
            database = self._tables[""].database
            if read_mysql_table(session, f"{database}.{APPLIED}", database) is None:
                raise TransientError(f"there is no table {APPLIED} yet; run `sorbus apply`")
            parts = target_parts(self._flow)
            kept = {
                part: tuple(one for one in found if is_in_table(one, self._tables[part]))
                for part, found in parts.items()
            }
            found = [*obstacles(self._flow, self._tables, kept), *other_ids(session, self._flow, self._tables)]
            if found:
                raise TransientError(f"flow {self._flow.flow.id} can't deliver: {'; '.join(found)}")
            largest = int(session.value("select @@max_allowed_packet") or 1 << 20)
        self._rows = RecordRows(self._flow, kept, self._tables, largest)
        self._writing = MysqlWriting(session, self._flow, self._tables, self._rows, largest)
        flow = self._flow
        self._isolation = Isolation(
            MysqlEngine(session), self._writing, flow.flow.id, flow.flow.data_type, flow.system.name
        )

    def check(self) -> None:
        """Whether the server answers."""
        with target_errors(f"asking {self._flow.system.name} whether it is there"):
            self._opened()[0].execute("select 1")

    def close(self) -> None:
        """Leaves the target; what is not committed is undone."""
        if self._session is not None:
            self._session.close()
        self._session = self._rows = self._writing = self._isolation = None
        self._tables = {}

    def apply(
        self,
        deliveries: Sequence[Delivery],
        *,
        again: bool = False,
        alone: bool = False,  # noqa: ARG002 - versions are always locked
    ) -> list[RejectedDelivery]:
        """One transaction for all that can be delivered; the refused come back, each with the target's own words."""
        _, rows, writing = self._opened()
        assert self._isolation is not None
        refusals: list[RejectedDelivery] = []
        ready: list[MysqlRow] = []
        for place, delivery in enumerate(deliveries):
            try:
                ready.append(rows.row(place, delivery))
            except PermanentError as error:
                refusals.append(RejectedDelivery(place, error))
        writing.begin(again=again)
        with target_errors(f"flow {self._flow.flow.id}"):
            refusals += self._isolation.deliver(ready)
        landed = self._isolation.outcomes
        self._outcomes.update(landed)
        self._outcomes["skipped"] += max(0, len(deliveries) - len(refusals) - landed.total())
        landed.clear()
        return refusals

    def take_outcomes(self) -> dict[str, int]:
        """See `sorbus.abilities.SupportsOutcomes`."""
        found, self._outcomes = self._outcomes, Counter()
        return dict(found)

    def newer(self, deliveries: Sequence[Delivery]) -> dict[bytes, int]:
        """See `sorbus.abilities.SupportsVersions`."""
        if self._writing is not None and not self._writing.changed_nothing:
            return {}
        writes = self._flow.flow.deletes != "ignore"
        with target_errors(f"reading versions in {self._flow.system.name}"):
            return self._opened()[2].newer([one for one in deliveries if writes or not one.deleted])

    def versions(self, deliveries: Sequence[Delivery]) -> dict[bytes, int]:
        """See `sorbus.abilities.SupportsAppliedVersions`."""
        with target_errors(f"reading versions in {self._flow.system.name}"):
            return self._opened()[2].versions([one.id for one in deliveries])

    def progress(self, topic: str) -> dict[int, Progress]:
        """See `sorbus.abilities.KeepsProgress`."""
        session, flow = self._opened()[0], self._flow.flow.id
        with target_errors(f"reading how far flow {flow} is"):
            return read_progress(session, applied_name(self._tables[""]), flow, topic)

    def note_progress(self, topic: str, offsets: Mapping[int, Progress]) -> None:
        """See `sorbus.abilities.KeepsProgress`."""
        session, flow = self._opened()[0], self._flow.flow.id
        with target_errors(f"noting how far flow {flow} is"):
            write_progress(session, applied_name(self._tables[""]), flow, topic, offsets)

    def needs(self) -> dict[str, str]:
        """The canonical fields that go as they are into columns that must have a value."""
        self._opened()
        needed = {name for name, column in self._tables[""].columns.items() if column.required}
        return {
            one.source: one.into
            for one in target_parts(self._flow)[""]
            if one.source and not one.rule and one.into in needed and one.into != self._options.key
        }

    def preview(self, delivery: Delivery) -> Preview:
        """The row that would be written, or go. TransientError, AuthError."""
        return self.preview_all([delivery])[0]

    def begin_dry_run(self, reads: DryRunReads) -> None:  # noqa: ARG002 - rows are read a batch at a time
        """Nothing is committed by `preview_all`."""
        self.open()

    def preview_all(self, deliveries: Sequence[Delivery]) -> list[Preview]:
        """Writes each record and takes it back. See `sorbus.dry_run.SupportsDryRun`."""
        with target_errors(f"trying what flow {self._flow.flow.id} would write"):
            return [self._previewed(place, one) for place, one in enumerate(deliveries)]

    def _previewed(self, place: int, delivery: Delivery) -> Preview:
        session, rows, writing = self._opened()
        known = writing.versions([delivery.id]).get(delivery.id)
        if known is not None and known > delivery.version:
            return older_preview(delivery.version, known)
        try:
            row = rows.row(place, delivery)
        except MustWait as error:
            return Preview("wait", str(error))
        except PermanentError as error:
            return Preview("refuse", str(error))
        engine = MysqlEngine(session)
        try:
            before, items_before = self._look(row.id), self._items(row.id)
            with engine.transaction(force_rollback=True):
                writing.write([row], again=True)
                after, items_after = self._look(row.id), self._items(row.id)
        except engine.error as error:
            about = about_error(error)
            if about in (About.SYSTEM, About.LOAD, About.ACCESS):
                raise
            kind = engine.refusal(error, None, f"flow {self._flow.flow.id}")
            return Preview("wait" if about is About.REFERENCE else "refuse", str(kind))
        was, now = {**(before or {}), **items_before}, {**(after or {}), **items_after}
        changes: dict[str, JsonValue] = {}
        for name in {**was, **now}:
            if was.get(name) != now.get(name):
                changes[name] = [was.get(name), now.get(name)]
        request: JsonValue = {"table": self._tables[""].full_name, "changes": changes}
        if not changes:
            return Preview("nothing", "the target has exactly this")
        if row.is_delete:
            return Preview("delete", "the record was deleted at its owner", request)
        if before is None:
            return Preview("create", "the target has no row with this key", request)
        return Preview("update", f"{', '.join(changes)} would change", request)

    def look(self, id: str) -> Mapping[str, JsonValue] | None:
        """The record's row as it is now. TransientError, AuthError."""
        with target_errors(f"reading {id} in {self._flow.system.name}"):
            return self._look(id) if self._may_have(id) else None

    def _may_have(self, id: str) -> bool:
        """Whether a row may be this record's: its key column keeps the id, and takes it for no other row's."""
        _, rows, writing = self._opened()
        try:
            return not writing.is_anothers(rows.key_of(id))
        except PermanentError:
            return False
        except MysqlEngine.error as error:
            if about_error(error) is About.RECORD:
                return False
            raise

    def _look(self, id: str) -> Mapping[str, JsonValue] | None:
        session, rows, _ = self._opened()
        names = list(self._tables[""].columns)
        key = rows.key_of(id)
        found = session.query(
            f"select {', '.join(map(quoted, names))} from {self._tables[''].sql} where"  # noqa: S608 - quoted
            f" {quoted(self._options.key)} = %s",
            [key],
        )
        return {name: _json(value) for name, value in zip(names, found[0], strict=True)} if found else None

    def _items(self, id: str) -> dict[str, JsonValue]:
        """What the record's lists have in their tables, without columns that the flow doesn't fill."""
        session, rows, _ = self._opened()
        found: dict[str, JsonValue] = {}
        for name, child in self._options.children.items():
            columns = rows.columns[name]
            items = session.query(
                f"select {', '.join(map(quoted, columns))} from {self._tables[name].sql} where"  # noqa: S608 - quoted
                f" {quoted(child.parent)} = %s",
                [id],
            )
            if items:
                ordered = sorted(([_json(value) for value in item] for item in items), key=json.dumps)
                found[name] = [dict(zip(columns, item, strict=True)) for item in ordered]
        return found

    def erase(self, id: str, *, dry_run: bool = False) -> Erased:
        """Blanks what soft or ignored deletes leave of the record's personal columns; see `SupportsErasure`."""
        session, rows, _ = self._opened()
        parts = target_parts(self._flow)
        with target_errors(f"erasing in {self._flow.system.name}"):
            if not self._may_have(id):
                return Erased(0)
            keys: dict[str, object] = {}
            for part in self._tables:
                with suppress(PermanentError):  # no item can be this record's
                    keys[part] = rows.key_of(id, part)
            return erase_rows(session, self._flow, self._tables, parts, keys, dry_run=dry_run)

    def _opened(self) -> tuple[Session, RecordRows, MysqlWriting]:
        """TransientError when there is no connection (not opened, or it was lost)."""
        session, rows, writing = self._session, self._rows, self._writing
        if session is None or rows is None or writing is None or not session.is_open:
            raise TransientError(f"the connection of flow {self._flow.flow.id} is closed")
        return session, rows, writing


@contextmanager
def target_errors(doing: str) -> Iterator[None]:
    """Errors of the database as TransientError or AuthError: what is one record's alone has been set aside before."""
    try:
        with mysql_errors(doing):
            yield
    except PermanentError as error:
        raise TransientError(str(error)) from error


def _json(value: object) -> JsonValue:
    if value is None or isinstance(value, str | int | float):
        return value
    return value.hex() if isinstance(value, bytes) else str(value)
