"""The PostgreSQL consumer: one transaction a batch; a refused record is set aside alone, its neighbours land.

What it offers besides delivery is in modules of its own: `preview.py`, `lookup.py`, `erase.py`, `column_limits.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from pydantic import BaseModel, JsonValue

from sorbus.abilities import Erased, LastRead, Preview, Progress, TargetTotals
from sorbus.checksums import ComparedPart, ExpectedRecords, HashFunction, TargetChecksumReader
from sorbus.connector import BoundFlow, BoundSystem, Consumer, Delivery, RejectedDelivery, Step
from sorbus.consumers.postgres.check import plan_obstacles
from sorbus.consumers.postgres.checksums import compared_parts, open_checksums
from sorbus.consumers.postgres.column_limits import target_warnings
from sorbus.consumers.postgres.dry_run import DryRun
from sorbus.consumers.postgres.erase import erase_record
from sorbus.consumers.postgres.expected import StagedRecords
from sorbus.consumers.postgres.last_read import last_read
from sorbus.consumers.postgres.lookup import look_up
from sorbus.consumers.postgres.open_target import OpenTarget, closed
from sorbus.consumers.postgres.options import PostgresTarget
from sorbus.consumers.postgres.preview import preview_delivery
from sorbus.consumers.postgres.progress import read_progress, write_progress
from sorbus.consumers.postgres.shadow import PostgresShadow, shadow_names
from sorbus.consumers.postgres.tables import APPLIED, plan_target
from sorbus.consumers.postgres.totals import read_totals
from sorbus.diagnosis import Diagnosis
from sorbus.dry_run import DryRunReads
from sorbus.postgres.catalog import qualified
from sorbus.postgres.connection import PostgresConnection, target_errors
from sorbus.postgres.diagnose import diagnose_server
from sorbus.postgres.discovery import PostgresDiscovery
from sorbus.shadow import Shadow


class PostgresConsumer(PostgresDiscovery):
    """Delivers one flow into one table (with its list fields' tables) of a PostgreSQL database."""

    Target: type[BaseModel] = PostgresTarget
    shares_process = True

    def __init__(self, flow: BoundFlow, tables: Mapping[str, str] | None = None) -> None:
        """`tables`: see `OpenTarget`."""
        self._flow, self._tables = flow, tables
        self._target: OpenTarget | None = None
        self._dry_run: DryRun | None = None
        self._outcomes: Counter[str] = Counter()
        self.on_submitted: Callable[[], None] | None = None

    @classmethod
    def place_of(cls, flow: BoundFlow) -> str:
        """See `sorbus.abilities.NeedsOwnPlace`: rows and versions are kept by id alone."""
        assert isinstance(flow.options, PostgresTarget)
        shared = f" (shared by {flow.flow.data_type})" if flow.options.shared else ""
        return f"table {qualified(flow.options.table)} of {flow.flow.to}{shared}"

    @classmethod
    def plan(cls, flow: BoundFlow) -> list[Step]:
        """What has to change in the database before the flow's consumer can run."""
        steps = plan_target(flow)
        if any(step.what != f"table {APPLIED}" for step in steps):
            return steps  # they change the tables that would be looked at
        return [*steps, *plan_obstacles(flow)]

    @classmethod
    def target_warnings(cls, flow: BoundFlow) -> list[str]:
        """Columns that keep less than their fields hold."""
        return target_warnings(flow)

    @classmethod
    def diagnose(cls, system: BoundSystem) -> Iterator[Diagnosis]:
        """How the server is: see `sorbus/postgres/diagnose.py`."""
        assert isinstance(system.connection, PostgresConnection)
        return diagnose_server(system.name, system.connection)

    @classmethod
    def compared_parts(cls, flow: BoundFlow) -> dict[str, ComparedPart]:
        """What is compared of the target's tables: see `checksums.py`."""
        return compared_parts(flow)

    @classmethod
    def target_checksums(
        cls, flow: BoundFlow, parts: Mapping[str, ComparedPart], hashing: HashFunction
    ) -> TargetChecksumReader:
        """A reader of the target's tables."""
        return open_checksums(flow, parts, hashing)

    @classmethod
    def expected_records(cls, flow: BoundFlow, parts: Mapping[str, ComparedPart]) -> ExpectedRecords:
        """What deliveries would write: see `expected.py`."""
        return StagedRecords(flow, parts)

    @classmethod
    def shadow(cls, flow: BoundFlow) -> Shadow:
        """The flow's shadow tables: see `shadow.py`."""
        return PostgresShadow(flow)

    @classmethod
    def shadow_consumer(cls, flow: BoundFlow) -> Consumer:
        """A consumer that writes the shadow tables in place of the live ones."""
        assert isinstance(flow.options, PostgresTarget)
        return cls(flow, shadow_names(flow.options))

    @classmethod
    def totals(cls, flow: BoundFlow, sums: Sequence[str]) -> TargetTotals:
        """What the target holds: see `totals.py`."""
        return read_totals(flow, sums)

    @classmethod
    def last_read(cls, flow: BoundFlow) -> LastRead | None:
        """When somebody last read the target's tables: see `last_read.py`."""
        return last_read(flow)

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
        self._target = OpenTarget(self._flow, self._tables)

    def begin_dry_run(self, reads: DryRunReads) -> None:  # noqa: ARG002 - rows are read a batch at a time
        """Likewise, in a transaction that `close` rolls back; see `dry_run.py`."""
        self.close()
        self._target = OpenTarget(self._flow, self._tables, is_trial=True)
        self._dry_run = DryRun(self._target)

    def preview_all(self, deliveries: Sequence[Delivery]) -> list[Preview]:
        """See `sorbus.dry_run.SupportsDryRun`."""
        assert self._dry_run is not None
        return self._dry_run.preview_all(deliveries)

    def check(self) -> None:
        """Whether the server answers."""
        assert self._target is not None
        with target_errors(f"asking {self._flow.system.name} whether it is there"):
            self._target.session.execute("select 1")
            self._target.session.rollback()

    def close(self) -> None:
        """Leaves the target; what is not committed is undone."""
        if self._dry_run is not None:
            self._dry_run.close()
        target, self._target, self._dry_run = self._target, None, None
        if target is not None:
            target.close()

    def apply(
        self, deliveries: Sequence[Delivery], *, again: bool = False, alone: bool = False
    ) -> list[RejectedDelivery]:
        """One transaction for all that can be delivered; the refused come back, each with the target's own words."""
        target = self._opened()
        packed, refusals = target.packer.pack_all(deliveries)
        target.writing.begin(again=again, alone=alone)
        target.writing.on_submitted = self.on_submitted
        refusals += target.isolation.deliver(packed)
        landed = target.isolation.outcomes
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
        if self._target is not None and not self._target.writing.changed_nothing:
            return {}
        target = self._opened()
        with target_errors(f"reading versions in {self._flow.system.name}"):
            return target.newer(deliveries)

    def versions(self, deliveries: Sequence[Delivery]) -> dict[bytes, int]:
        """See `sorbus.abilities.SupportsAppliedVersions`."""
        target = self._opened()
        with target_errors(f"reading versions in {self._flow.system.name}"):
            return target.versions(deliveries)

    def progress(self, topic: str) -> dict[int, Progress]:
        """See `sorbus.abilities.KeepsProgress`."""
        target = self._opened()
        with target_errors(f"reading how far flow {self._flow.flow.id} is"):
            return read_progress(target, topic)

    def note_progress(self, topic: str, offsets: Mapping[int, Progress]) -> None:
        """See `sorbus.abilities.KeepsProgress`."""
        target = self._opened()
        with target_errors(f"noting how far flow {self._flow.flow.id} is"):
            write_progress(target, topic, offsets)

    def needs(self) -> dict[str, str]:
        """The canonical fields that go as they are into columns that must have a value."""
        target = self._opened()
        needed = {name for name, column in target.tables[""].columns.items() if column.required}
        return {one.source: one.into for one in target.parts[""] if one.source and not one.rule and one.into in needed}

    def preview(self, delivery: Delivery) -> Preview:
        """The row that would be written, or go. TransientError, AuthError."""
        return preview_delivery(self._opened(), delivery)

    def look(self, id: str) -> Mapping[str, JsonValue] | None:
        """The record's row as it is now. TransientError, AuthError."""
        return look_up(self._opened(), id)

    def erase(self, id: str, *, dry_run: bool = False) -> Erased:
        """Blanks what soft or ignored deletes leave of the record's personal columns; see `SupportsErasure`."""
        return erase_record(self._opened(), id, dry_run=dry_run)

    def _opened(self) -> OpenTarget:
        """TransientError when there is no connection (not opened, or it was lost)."""
        if self._target is not None and self._target.is_open:
            self._target.vacuum()
        if self._target is None or not self._target.is_open:
            raise closed(self._flow)
        return self._target
