"""Writing packed deliveries into the target: stages, COPY, the guarded merge, and unique values that move."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import cast

import psycopg
from psycopg import sql

from sorbus import native
from sorbus.bus.names import Names
from sorbus.connector import BoundFlow, Delivery
from sorbus.consumers.isolate import Written
from sorbus.consumers.postgres.declarations import unchanged
from sorbus.consumers.postgres.faults import copy_context, try_value
from sorbus.consumers.postgres.key_guard import KeyGuard
from sorbus.consumers.postgres.key_kind import KeyCut
from sorbus.consumers.postgres.key_owners import KeyTaken
from sorbus.consumers.postgres.merge import GONE, forget_won, newer
from sorbus.consumers.postgres.options import PostgresTarget
from sorbus.consumers.postgres.packed import Packed, bytes_of, gone_row, stages_of
from sorbus.consumers.postgres.stages import Fill, Stages
from sorbus.consumers.postgres.staging import counts_of
from sorbus.consumers.postgres.table_lock import table_lock
from sorbus.consumers.postgres.unique_swaps import still_parked
from sorbus.mapping.assign import Parts
from sorbus.postgres.catalog import Table
from sorbus.postgres.connection import Connection
from sorbus.postgres.delivery_note import write_note
from sorbus.postgres.sqlstate import of_error
from sorbus.two_way.expand import proposals_of
from sorbus.write_fault import About

FEW, MANY = 500, 10_000
"""Records, with their lists' items, for which arrays are quicker than a COPY to a near server: in Python, and in C."""
_MOST_BYTES = 8_000_000
"""Of rows that are given as arrays: the server holds a statement whole."""
_TAKEN_APART = 4e-6
_SPARED = 3
"""What a record costs more as arrays, in seconds, and the round trips that they spare."""


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
        self._parts, self._tables = parts, tables
        self.applied, self.obstacle = applied, obstacle
        self.stages = Stages(session, flow, parts, tables, applied)
        self._locks = {alone: table_lock(session, self.stages.relation, alone=alone) for alone in (False, True)}
        self.guard = KeyGuard(session, flow, tables, self.stages, applied)
        self._again = self._alone = self._is_dry_run = False
        self._copied: Sequence[Packed] = ()  # without what `settle` left out, which has no line
        self.on_submitted: Callable[[], None] | None = None
        """See `sorbus.abilities.TellsSubmitted`."""
        self.changed_nothing = False
        """Whether the target took less than it was given since `begin`."""
        self._shown_in = None
        """The topic of what the target shows, if it may change records too."""
        if flow.flow.direction == "two-way":
            shown = proposals_of(flow.flow.data_type, flow.system.name)
            self._shown_in = Names(flow.system.topic_prefix).topic(shown)
        began = time.monotonic()
        session.execute("select 1")
        self.few = max(FEW if native.absence else MANY, int(_SPARED * (time.monotonic() - began) / _TAKEN_APART))
        """Up to so many records are given as arrays."""

    def open(self, within: float) -> bool:
        """To be called before the first write, in the transaction in progress: `KeyOwners.open`. psycopg.Error."""
        owners = self.guard.owners
        if not owners.is_open:
            self.lock(alone=True)
        if not owners.open(within):
            return False
        declared = partial(unchanged, self._options, self._parts, self._tables, self._session)
        self._unchanged = declared(sql.SQL("''")), declared(owners.noted)
        return True

    @property
    def is_dry_run(self) -> bool:
        """Whether an outer transaction undoes everything in the end: what a commit would do is then done at once."""
        return self._is_dry_run

    @is_dry_run.setter
    def is_dry_run(self, value: bool) -> None:
        self._is_dry_run, self.stages.is_kept = value, not value

    def begin(self, *, again: bool, alone: bool) -> None:
        """How the next batch is to be written; see `sorbus.connector.Consumer.apply`."""
        self._again, self._alone, self.changed_nothing = again, alone, False

    def write(self, items: Sequence[Packed], *, again: bool | None = None) -> Written:
        """Writes them in the transaction in progress."""
        if self.is_dry_run:
            self.stages.clear()
        self._lock_for(items, may_meet=self.guard.may_meet(items))
        written = self._write(items, self._again if again is None else again)
        self._session.execute(self._unchanged[not self.guard.owners.has_taken])
        if self.is_dry_run:
            self._session.execute("set constraints all immediate")
        return written

    def write_committed(self, items: Sequence[Packed]) -> Written:
        """Writes them in a transaction of their own, few records in one round trip. psycopg.Error.

        What fails so is tried again by COPY, which says where a value was refused.
        """
        if self.is_dry_run:
            with self._session.transaction():
                return self.write(items)
        if self._are_few(items):
            try:
                return self._committed(items, by_copy=False)
            except psycopg.Error as error:
                if self._session.closed or isinstance(error, KeyTaken | KeyCut):
                    raise
        return self._committed(items, by_copy=True)

    def _are_few(self, items: Sequence[Packed]) -> bool:
        count = len(items) + sum(sum(map(len, item.items.values())) for item in items if item.items)
        if count > self.few or bytes_of(items) > _MOST_BYTES:
            return False
        return self.stages.take_arrays(stages_of(items))

    def _committed(self, items: Sequence[Packed], *, by_copy: bool) -> Written:
        """COPY can't be part of a pipeline."""
        session, may_meet, counted = self._session, self.guard.may_meet(items), None
        session.autocommit = True  # psycopg would wait for the answer to its own BEGIN
        try:
            with session.pipeline():
                session.execute("begin")
                self._lock_for(items, may_meet=may_meet)
                if not by_copy and not may_meet:
                    counted = self._sent(items, by_copy=False)
            if counted is None:
                items = self._settled(items, self._again) if may_meet else items
                if by_copy:
                    self._fill_all(items, self.stages.staging.copy)
                with session.pipeline():
                    counted = self._sent(items, by_copy=by_copy)
            return counted()
        finally:
            if not session.closed:
                session.rollback()
                session.autocommit = False

    def _sent(self, items: Sequence[Packed], *, by_copy: bool) -> Callable[[], Written]:
        """The rest of what a pipeline sends, to the commit. `by_copy`: the records are in their stages."""
        given = None if by_copy else self._given(items) or self._staged(items, self.stages.insert, self._again)
        counted = given or self._merge(items, self._again)
        self._session.execute(self._unchanged[not self.guard.owners.has_taken])
        self._session.execute("commit")
        if self.on_submitted is not None:
            self.on_submitted()
        return counted

    def _given(self, items: Sequence[Packed]) -> Callable[[], Written] | None:
        """Writes them without a stage, where that can be done."""
        stage = items[0].stage if items else None
        given = stage.given[self._again] if stage is not None and all(one.stage is stage for one in items) else None
        if given is None:
            return None
        self._note(items)
        cursor = self.stages.staging.execute(given, [item.row for item in items])

        def counted() -> Written:
            wrote, fresh = counts_of(cursor)
            self.changed_nothing = self.changed_nothing or wrote < len(items)
            return Written(wrote, fresh, 0, wrote > 0)

        return counted

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
                    self._session.execute(self._unchanged[not self.guard.owners.has_taken])
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
        """Which item a COPY failed in, or the key column cuts; None when something else failed."""
        if isinstance(error, KeyCut):
            return error.place
        context = copy_context(error)
        line = 0
        for item in self._copied if context else ():
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
                return next((at for at, one in enumerate(items) if one is item), None)
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
                    self.stages.staging.copy(stage.name, [item.row])
                    for statement in try_value(stage.name, column, self._tables[""].columns[column.name].native):
                        self._session.execute(statement)
            except psycopg.DataError:
                return column.name
        return None

    def newer(self, deliveries: Sequence[Delivery]) -> dict[bytes, int]:
        """Of records that could be written: id -> the version in the target, where that is newer."""
        statement = newer(self.stages.merge_of_deletes())
        given = [one.id.decode() for one in deliveries], [one.version for one in deliveries]
        with self._session.transaction():
            found = self._session.execute(statement, given).fetchall()
        return {str(id).encode(): cast("int", version) for id, version in found}

    def fill(self, items: Sequence[Packed]) -> None:
        """Puts packed records into their stages, in the transaction in progress, and writes nothing else."""
        for stage in self.stages:
            if rows := [item for item in items if item.stage is stage]:
                self.stages.fill(stage, rows, self.stages.staging.copy)

    def lock(self, *, alone: bool) -> None:
        """Holds off other writers of the table until the transaction ends: all of them, or those `alone`."""
        if not self.is_dry_run:  # which no other writer sees, and which must not hold them up until its end
            # Other writers of ours may take their time over a batch; by then we hold no row that a program waits for.
            self._session.execute(self._locks[alone])
        # Deferrable constraints look at what a transaction leaves, not at each step.
        self._session.execute("set constraints all deferred")

    def _lock_for(self, items: Sequence[Packed], *, may_meet: bool = False) -> None:
        # A deleted row of our own tables has nothing left that a late writer of an older state could wait for.
        is_left = self.stages.is_ours and any(item.stage is None for item in items)
        self.lock(alone=self._alone or is_left or may_meet)

    def _write(self, items: Sequence[Packed], again: bool) -> Written:
        if self.guard.may_meet(items):
            items = self._settled(items, again)
        return self._staged(items, self.stages.staging.copy, again)()

    def _settled(self, items: Sequence[Packed], again: bool) -> Sequence[Packed]:
        """Those that can be written; see `KeyGuard`."""
        kept = self.guard.settle(items, again=again)
        self.changed_nothing = self.changed_nothing or len(kept) < len(items)
        return kept

    def _staged(self, items: Sequence[Packed], fill: Fill, again: bool) -> Callable[[], Written]:
        self._fill_all(items, fill)
        return self._merge(items, again)

    def _note(self, items: Sequence[Packed]) -> None:
        if self._shown_in is not None:
            write_note(self._session, self._shown_in, {item.delivery.id: item.delivery.version for item in items})

    def _fill_all(self, items: Sequence[Packed], fill: Fill) -> None:
        self._note(items)
        self._copied = items
        gone = [gone_row(item) for item in items if item.stage is None]
        if gone and self._flow.flow.deletes != "ignore":
            fill(GONE, gone)
        for stage in self.stages:
            if rows := [item for item in items if item.stage is stage]:
                self.stages.fill(stage, rows, fill)

    def _merge(self, items: Sequence[Packed], again: bool) -> Callable[[], Written]:
        """From the stages into the target; what that wrote can be asked once the server has answered."""
        execute = self._session.execute
        count = Counter(id(item.stage) for item in items)
        gone = count[id(None)] if self._flow.flow.deletes != "ignore" else 0
        deletes = [execute(statement) for statement in self.stages.deletes[again]] if gone else []
        if gone and gone < len(items):
            execute(forget_won())
        upserts: list[tuple[int, list[psycopg.Cursor[tuple[object, ...]]]]] = []
        for stage in self.stages:
            if staged := count[id(stage)]:
                if upserts:
                    execute(forget_won())
                upserts.append((staged, [execute(statement) for statement in stage.statements[again]]))

        def counted() -> Written:
            has_changed, changed, deleted = False, 0, 0
            created: int | None = 0
            if deletes:
                done = [cursor.rowcount for cursor in deletes]
                # The rows and the versions: ours go before their versions, others' behind.
                rows, versions = (done[-2], done[-1]) if self.stages.is_ours else (done[-1], done[0])
                self.changed_nothing = self.changed_nothing or min(rows, versions) < gone
                deleted = rows
                has_changed = max(done) > 0
            for staged, cursors in upserts:
                counts = [counts_of(cursor) for cursor in cursors]
                wrote, fresh = counts[0 if self.stages.is_ours else 1]
                changed += wrote
                created = None if fresh is None or created is None else created + fresh
                self.changed_nothing = self.changed_nothing or counts[0][0] < staged
                has_changed = has_changed or any(count for count, _ in counts)
            return Written(changed, created, deleted, has_changed)

        return counted

    def _move_once(self, items: Sequence[Packed], spared: set[bytes]) -> list[tuple[Packed, psycopg.Error]]:
        """Parks what moves and writes the items within the transaction in progress; those that fail."""
        if self.is_dry_run:
            self.stages.clear()
        self.lock(alone=True)  # a parked row must not be seen or overtaken by another writer
        gone = [item for item in items if item.stage is None]
        failed = self._each(gone)
        for stage in self.stages:
            rows = [item for item in items if item.stage is stage]
            parking = stage.park[self._again]
            if parking is None or not rows:
                continue
            self._session.execute("delete from sorbus_spared")
            for id in spared:
                self._session.execute("insert into sorbus_spared values (%s)", (id.decode(),))
            try:
                with self._session.transaction():
                    self.stages.empty(stage)
                    self.stages.fill(stage, rows, self.stages.staging.copy)
                    self._session.execute(parking)
            except psycopg.Error as error:  # a check or a trigger refuses the placeholders
                if self._session.closed or of_error(error) in NOT_A_RECORDS:
                    raise
            self.stages.empty(stage)
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
                        self.stages.empty(stage)
                    self._write(part, self._again)
            except psycopg.Error as error:
                if self._session.closed or of_error(error) in NOT_A_RECORDS:
                    raise
                if len(part) == 1:
                    failed.append((part[0], error))
                    continue
                middle = len(part) // 2
                left += [part[middle:], part[:middle]]
        return failed


NOT_A_RECORDS = frozenset({About.SYSTEM, About.LOAD})  # what an error is about that no record is the cause of
