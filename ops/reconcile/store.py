"""Reconciliations and open differences in Sorbus's database."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import NamedTuple, cast

from psycopg.types.json import Jsonb

from sorbus.audit import AuditTrail
from sorbus.ops.reconcile.finding import Cause, Coverage, DifferenceKind, FieldDifference, Method, ReconcileReport
from sorbus.state.database import State
from sorbus.state.storable import storable


class StoredDifference(NamedTuple):
    """A difference as it is kept: open until a later reconciliation finds the record equal."""

    flow: str
    id: str
    kind: DifferenceKind
    fields: tuple[FieldDifference, ...]
    why: str
    first_seen: datetime
    last_seen: datetime
    healed_at: datetime | None
    healed_by: str | None
    closed_at: datetime | None
    cause: Cause


class StoredRun(NamedTuple):
    """A reconciliation as it is kept; the fields of `ReconcileReport`. `offsets`: see `topic_ends`."""

    number: int
    flow: str
    method: Method
    started_at: datetime
    finished_at: datetime
    owner_records: int | None
    target_records: int | None
    compared: int
    rows_fetched: int
    bytes_scanned: int
    counts: Mapping[DifferenceKind, int]
    in_flight: int
    undecided: int
    not_compared: Sequence[str]
    from_topic: Sequence[str]
    offsets: Mapping[str, int | str]
    coverage: Coverage | None


class LastRun(NamedTuple):
    """When a flow was last reconciled, whether something was left out, and what has been looked at, if that is kept."""

    at: datetime
    is_partial: bool
    coverage: Coverage | None


class ReconcileStore:
    """Every call may raise TransientError or AuthError, as `State` does."""

    def __init__(self, state: State) -> None:
        self._state = state

    def put(
        self, report: ReconcileReport, offsets: Mapping[str, int | str], *, among: Collection[str] | None = None
    ) -> int:
        """Keeps a report and its differences, and closes those that it no longer found; returns the run's number.

        `among`: the records that it looked at, None for all. With records left undecided nothing is closed that may
        be one of them.
        """
        assert report.finished_at is not None
        with self._state.connection() as connection:
            row = connection.execute(
                _statement("put_run"),
                {
                    "flow": report.flow,
                    "method": report.method,
                    "started_at": report.started_at,
                    "finished_at": report.finished_at,
                    "owner_records": report.owner_records,
                    "target_records": report.target_records,
                    "compared": report.compared,
                    "rows_fetched": report.rows_fetched,
                    "bytes_scanned": report.bytes_scanned,
                    "counts": Jsonb(report.counts),
                    "in_flight": report.in_flight,
                    "undecided": report.undecided,
                    "not_compared": Jsonb(report.not_compared),
                    "from_topic": Jsonb(report.from_topic),
                    "offsets": Jsonb(dict(offsets)),
                    "coverage": None if report.coverage is None else Jsonb(coverage_json(report.coverage)),
                },
            ).fetchone()
            assert row is not None
            run = int(str(row[0]))
            found = report.differences
            values = {
                "flow": report.flow,
                "run": run,
                "at": report.finished_at,
                "ids": [each.id.replace("\0", "\ufffd") for each in found],
                "kinds": [each.kind for each in found],
                "fields": [json.dumps([list(field) for field in each.fields]) for each in found],
                "whys": [storable(each.why) for each in found],
                "causes": [each.cause for each in found],
            }
            connection.execute(_statement("put_differences"), values)
            if report.undecided == 0 and report.total == len(found):
                chosen = None if among is None else list(among)
                connection.execute(_statement("close"), {**values, "among": chosen})
        return run

    def differences(
        self, flow: str | None = None, *, id: str | None = None, closed: bool = False, most: int = 1000
    ) -> list[StoredDifference]:
        """The open ones first; with `closed` also those that have been settled since."""
        asked = {"flow": flow, "id": id, "closed": closed, "most": most}
        return [_difference(row) for row in self._state.run(_statement("differences"), asked)]

    def runs(self, flow: str | None = None, *, whole: bool = False, most: int = 100) -> list[StoredRun]:
        """Newest first; `whole`: only those that weren't limited to changed records."""
        rows = self._state.run(_statement("runs"), {"flow": flow, "whole": whole, "most": most})
        return [StoredRun(*row[:-1], _coverage(row[-1])) for row in rows]  # type: ignore[arg-type, call-arg]

    def open_counts(self) -> dict[tuple[str, DifferenceKind], int]:
        """(flow, kind) -> open differences."""
        rows = self._state.run(_statement("open_counts"))
        return {(str(flow), cast("DifferenceKind", kind)): int(str(count)) for flow, kind, count in rows}

    def last_runs(self) -> dict[str, LastRun]:
        """Flow -> its last reconciliation."""
        rows = self._state.run(_statement("last_runs"))
        return {
            str(flow): LastRun(cast("datetime", at), bool(partial), _coverage(coverage))
            for flow, at, partial, coverage in rows
        }

    def compared(self) -> dict[str, tuple[datetime, bool]]:
        """Flow -> when its last comparison of all records began, and True; without one when it first ran, and False."""
        rows = self._state.run(_statement("compared"))
        found = {str(flow): (cast("datetime", at), bool(is_run)) for flow, at, is_run in rows if not is_run}
        return found | {str(flow): (cast("datetime", at), bool(is_run)) for flow, at, is_run in rows if is_run}

    def healed(self, flow: str, ids: Sequence[str], who: str) -> None:
        """Notes that the owner's state of these records was sent again, with an entry in the audit trail."""
        with self._state.connection() as connection:
            connection.execute(_statement("healed"), {"flow": flow, "ids": list(ids), "who": who})
            AuditTrail(self._state).note_in(
                connection, who, "heal", "flow", flow, details={"records": len(ids), "ids": list(ids[:100])}
            )


def coverage_json(coverage: Coverage) -> dict[str, object]:
    """As JSON."""
    oldest = coverage.oldest
    return {**coverage._asdict(), "oldest": None if oldest is None else oldest.isoformat()}


def _coverage(stored: object) -> Coverage | None:
    if not isinstance(stored, dict):
        return None
    oldest = stored["oldest"]
    return Coverage(**{**stored, "oldest": None if oldest is None else datetime.fromisoformat(oldest)})


def _difference(row: Sequence[object]) -> StoredDifference:
    fields = tuple(FieldDifference(*found) for found in cast("list[list[str]]", row[3]))
    return StoredDifference(*row[:3], fields, *row[4:])  # type: ignore[arg-type, call-arg]


@cache
def _statement(name: str) -> bytes:
    return (files("sorbus.ops.reconcile") / "sql" / f"{name}.sql").read_bytes()
