"""Snapshots as batches: every data type that is due, in key order, page by page, in one transaction each time."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from sorbus.connector import Batch, Change, RejectedRecord, StaleRecordDeletion
from sorbus.errors import TransientError
from sorbus.mysql.catalog import read_mysql_table
from sorbus.mysql.connection import Session, mysql_errors
from sorbus.producers.mysql.capture import MysqlCapture
from sorbus.producers.mysql.gtids import gtids_of
from sorbus.producers.mysql.position import MysqlPosition, SnapshotCopy
from sorbus.producers.mysql.record_reader import RecordReader, row_count
from sorbus.producers.mysql.server import MysqlServer
from sorbus.producers.mysql.snapshot_point import SnapshotPoint, Told, begin_snapshot

_PAGE = 2000
_log = logging.getLogger(__name__)


def is_due(state: MysqlPosition, captures: Sequence[MysqlCapture]) -> bool:
    """Whether any data type has to be snapshotted."""
    return bool(_due(state, captures))


def _due(state: MysqlPosition, captures: Sequence[MysqlCapture]) -> list[MysqlCapture]:
    begun = state.copying.data_type if state.copying else None
    due = [one for one in captures if one.name not in state.copied or one.name in state.resnapshot or one.name == begun]
    return sorted(due, key=lambda one: one.name != begun)


class MysqlSnapshot:
    """Snapshots what is due; `state` says where the log continues."""

    def __init__(
        self,
        session: Session,
        server: MysqlServer,
        captures: Sequence[MysqlCapture],
        state: MysqlPosition | None,
        floor: int,
        inherited: tuple[str, ...],
    ) -> None:
        """`state` None: nothing has been read yet. `floor`: a version that is below all new ones; `inherited`: data
        types whose topics may hold what isn't in the source, where there is no `state` that says so.
        """
        self._session, self._server, self._captures = session, server, captures
        self._floor, self._inherited = floor, inherited
        self.state = state
        self._batches = self._all()

    def read(self) -> Batch | None:
        """The next batch; None at the end. TransientError, AuthError."""
        with mysql_errors("taking the snapshot"):
            return next(self._batches, None)

    def _all(self) -> Iterator[Batch]:
        told = Told() if self.state is None else self.state.told
        point = begin_snapshot(self._session, self._server, told)
        state = self.state or MysqlPosition(
            self._server.is_mariadb, self._server.identity, point.gtids, self._floor, file=point.file, end=point.end,
            resnapshot=self._inherited,
        )  # fmt: skip
        self.state = replace(state, version=max(state.version, self._floor))
        for capture in _due(self.state, self._captures):
            yield from self._one(capture, point)
        self._session.execute("rollback")

    def _one(self, capture: MysqlCapture, point: SnapshotPoint) -> Iterator[Batch]:
        assert self.state is not None
        copying, is_known = self.state.copying, False
        if copying is None or copying.data_type != capture.name:
            sweep, seen = capture.name in self.state.resnapshot, capture.signatures()
            prepared = self.state.prepared
            if self.state.tables.get(capture.name, {}).keys() != seen.keys():  # which of them changed it wasn't noted
                prepared = {xa: tuple(dict.fromkeys((*names, capture.name))) for xa, names in prepared.items()}
            copying = SnapshotCopy(capture.name, self.state.version + 1, str(point.gtids), sweep=sweep)
            self.state = replace(
                self.state,
                version=copying.version,
                copying=copying,
                prepared=prepared,
                tables={**self.state.tables, capture.name: seen},
                meaning={**self.state.meaning, capture.name: capture.meaning()},
            )
        expected = row_count(self._session, capture.table)
        reader, now = RecordReader(self._session, capture), time.time_ns() // 1000
        _log.info("snapshot of %s begins: about %s records", capture.name, f"{expected:,}")
        while page := reader.page(copying.after, _PAGE):
            is_known = is_known or self._require_as_known(capture)
            changes, rejects = list[Change](), list[RejectedRecord]()
            for record in page:
                made = capture.made(record.row, record.items, copying.version, now)
                if isinstance(made, Change):
                    changes.append(made)
                else:
                    rejects.append(made)
            copying = replace(copying, after=page[-1].place, records=copying.records + len(page))
            self.state = replace(self.state, copying=copying)
            told = (capture.name, copying.records, max(expected, copying.records))
            yield Batch(changes, rejects, (), self.state.to_position(), caught_up=False, copied=told)
            if len(page) < _PAGE:
                break
        sweeps = (
            [StaleRecordDeletion(capture.name, copying.version, now, spares_rejected=True)] if copying.sweep else []
        )
        gtids = gtids_of(copying.gtids, is_mariadb=self.state.is_mariadb)
        self.state = replace(
            self.state,
            copying=None,
            copied=tuple(dict.fromkeys((*self.state.copied, capture.name))),
            resnapshot=tuple(name for name in self.state.resnapshot if name != capture.name),
            fresh={**self.state.fresh, capture.name: gtids},
        )
        told = (capture.name, copying.records, copying.records)
        yield Batch((), (), sweeps, self.state.to_position(), caught_up=False, copied=told)

    def _require_as_known(self, capture: MysqlCapture) -> bool:
        """TransientError where a table isn't as it was looked at: what was read of it would be taken for other values.
        Nothing alters one that this transaction has read.
        """
        signatures = capture.signatures()
        for table in capture.tables:
            known = signatures[table.full_name]
            now = read_mysql_table(self._session, table.full_name, table.database)
            columns = {} if now is None else {name: one.signature for name, one in now.columns.items()}
            if any(columns.get(name) != signature for name, signature in known.items()):
                raise TransientError(f"{table.full_name} was altered before its snapshot began")
        return True
