"""A flow's open target: its session, the tables that it found there, and what packs and writes its records."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence

import psycopg
from psycopg.pq import TransactionStatus

from sorbus.connector import BoundFlow, Delivery
from sorbus.consumers.isolate import Isolation
from sorbus.consumers.postgres.check import obstacles
from sorbus.consumers.postgres.faults import PostgresEngine
from sorbus.consumers.postgres.options import PostgresTarget
from sorbus.consumers.postgres.packing import DeliveryPacker
from sorbus.consumers.postgres.session_tables import vacuum_session_tables
from sorbus.consumers.postgres.stages import is_added_id
from sorbus.consumers.postgres.table_lock import LOCKED_ROWS
from sorbus.consumers.postgres.tables import (
    APPLIED,
    check_columns,
    find_applied,
    table_names,
    target_parts,
    without_absent_id,
)
from sorbus.consumers.postgres.writing import Writing
from sorbus.errors import AuthError, TransientError
from sorbus.postgres.catalog import Table, qualified, read_table
from sorbus.postgres.connection import Connection as Session
from sorbus.postgres.connection import PostgresConnection, commit_durably, connect, target_errors

_MOST, _PAUSE = 10.0, 1.0
"""Seconds that opening takes at most over the notes of `key_owners.py`, and until the next try."""
_VACUUM_EVERY = 3600.0
_log = logging.getLogger(__name__)


class OpenTarget:
    """What delivery and each ability of the connector work on. `tables` and `parts` by list field, "" the record's."""

    def __init__(self, flow: BoundFlow, tables: Mapping[str, str] | None = None, *, is_trial: bool = False) -> None:
        """Connects and looks the tables up. TransientError when they aren't there: `sorbus apply` makes them.

        `tables`: other tables in place of the map's, by list field. `is_trial`: nothing is committed in the target, and
        the writer is opened by the caller.
        """
        assert isinstance(flow.options, PostgresTarget)
        assert isinstance(flow.system.connection, PostgresConnection)
        self.flow, self.options = flow, flow.options
        self._is_trial, self._vacuumed_at = is_trial, time.monotonic()
        self.parts = target_parts(flow)
        self.names = tables or table_names(flow.options)
        self.tables: dict[str, Table] = {}
        self.session: Session = connect(flow.system.connection, flow.flow.id)
        try:
            with target_errors(f"opening flow {flow.flow.id}"):
                self.writing = self._prepare()
                is_open = is_trial or self.writing.open(_MOST)
                if not is_trial:
                    self.session.commit()
            if not is_open:
                raise TransientError(
                    f"flow {flow.flow.id} notes which of the records that it has delivered has which row of"
                    f" {qualified(flow.options.table)}: it does so once, a part at a time",
                    retry_after=_PAUSE,
                )
        except BaseException:
            self.session.close()
            raise
        self.packer = DeliveryPacker(flow, self.parts, self.writing)
        engine = PostgresEngine(self.session)
        self.isolation = Isolation(
            engine,
            self.writing,
            flow.flow.id,
            flow.flow.data_type,
            flow.system.name,
            commit=self.writing.write_committed,
        )

    @property
    def is_open(self) -> bool:
        """Whether the connection is still there."""
        return not self.session.closed

    def vacuum(self) -> None:
        """Now and then vacuums the session's own tables: it may be open for months. No fault of that stops the flow."""
        is_busy = self.session.info.transaction_status != TransactionStatus.IDLE
        if self._is_trial or is_busy or time.monotonic() - self._vacuumed_at < _VACUUM_EVERY:
            return
        self._vacuumed_at = time.monotonic()
        try:
            vacuum_session_tables(self.session)
        except psycopg.Error as error:
            _log.info("flow %s: its temporary tables can't be vacuumed for now: %s", self.flow.flow.id, error)

    def newer(self, deliveries: Sequence[Delivery]) -> dict[bytes, int]:
        """Id -> the target's version, where that is newer. psycopg.Error."""
        writes = self.flow.flow.deletes != "ignore"
        return self.writing.newer([one for one in deliveries if writes or not one.deleted])

    def versions(self, deliveries: Sequence[Delivery]) -> dict[bytes, int]:
        """Id -> the target's version, also of what it refuses. psycopg.Error."""
        asked = [one._replace(version=-1) for one in deliveries]
        try:
            return self.writing.newer(asked)
        except psycopg.DataError:  # an id that the key can't hold
            return {} if len(asked) == 1 else {id: has for one in asked for id, has in self.versions([one]).items()}

    def close(self) -> None:
        """What is not committed is undone."""
        self.session.close()

    def _prepare(self) -> Writing:
        session, flow = self.session, self.flow.flow.id
        for part, name in self.names.items():
            table = read_table(session, name)
            if table is None:
                raise TransientError(f"there is no table {qualified(name)} yet; run `sorbus apply`")
            self.tables[part] = table
        self.parts = {part: without_absent_id(self.tables[part], found) for part, found in self.parts.items()}
        for part, found in self.parts.items():
            assignments = [item for item in found if not (part and is_added_id(item))]
            own = [name for name in self._own_columns(part) if name not in self.tables[part].columns]
            if missing := list(dict.fromkeys([*own, *check_columns(self.tables[part], assignments)])):
                table_name = self.tables[part].name
                raise TransientError(f"{table_name} has no column {', '.join(missing)}; run `sorbus apply`")
        session.execute(f"set lock_timeout = '{LOCKED_ROWS}'")
        commit_durably(session)
        applied = find_applied(session, self.options.table)
        if applied is None:
            raise TransientError(f"there is no table {APPLIED} yet; run `sorbus apply`")
        self.applied = applied
        writing = Writing(session, self.flow, self.parts, self.tables, applied, self._obstacle)
        session.commit()
        in_the_way = obstacles(session, self.flow, self.tables, writing)
        session.commit()
        if in_the_way:
            kind = AuthError if any(one.state == "42501" for one in in_the_way) else TransientError
            raise kind(f"flow {flow} can't deliver: {'; '.join(map(str, in_the_way))}")
        return writing

    def _own_columns(self, part: str) -> list[str]:
        """Those that no sheet fills."""
        if part:
            child = self.options.children[part]
            return [child.parent, *([child.position] if child.position else [])]
        return [self.options.key, *([self.options.deleted_column] if self.flow.flow.deletes == "soft" else [])]

    def _obstacle(self) -> str | None:
        """What has come to keep every record out since the flow was opened."""
        if not self.is_open:
            raise closed(self.flow)
        with self.session.transaction(force_rollback=True):
            for table in self.tables.values():
                now = read_table(self.session, table.name)
                if now is None or now.oid != table.oid or now.columns != table.columns:
                    return f"{table.name} has changed since the flow started"
            found = obstacles(self.session, self.flow, self.tables, self.writing)
        return "; ".join(map(str, found)) or None


def closed(flow: BoundFlow) -> TransientError:
    """What is raised where there is no open connection (it was lost, or never opened)."""
    return TransientError(f"the connection of flow {flow.flow.id} is closed")
