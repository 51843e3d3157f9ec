"""Replays in Sorbus's database: one unfinished per flow, resumed where it was, cancelled by a person."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import NamedTuple, cast

from sorbus.audit import AuditTrail
from sorbus.errors import ExitCode, SorbusError
from sorbus.state.database import State

_COLUMNS = (
    b"number, flow, request, started_at, started_by, holder, seen_at, state, offsets,"
    b" events, total, applied, refused, waiting"
)
_UNFINISHED = b"select " + _COLUMNS + b" from replay where flow = %s and state in ('running', 'stopped', 'failed')"
_BEGIN = b"insert into replay (flow, request, started_by, holder) values (%s, %s, %s, %s) returning " + _COLUMNS
_RESUME = b"update replay set state = 'running', holder = %s, seen_at = now() where number = %s returning " + _COLUMNS
_ANEW = (
    b"update replay set request = %s, offsets = '{}', events = 0, total = 0, applied = 0, refused = 0, waiting = 0"
    b" where number = %s"
)
_WHOLE = (
    b"jsonb_build_object('whole', request ->> 'ids' is null and coalesce(request ->> 'where', '') = ''"
    b" and coalesce(request ->> 'cause', '') = '' and request ->> 'since' is null and request ->> 'until' is null"
    b" and coalesce(request -> 'offsets', '{}') = '{}')"
)
_WHOLE_SINCE = (
    b"select exists (select from replay where flow = %s and started_at >= to_timestamp(%s)"
    b" and state = 'finished' and request ->> 'whole' = 'true')"
)
BASIS = "basis"
"""Of a request: a hash of the topic and of what the map says of the flow. What was done for another is void."""


class ReplayBusy(SorbusError):
    """Another process replays the flow, or an unfinished replay asks for something else."""

    exit_code = ExitCode.REFUSED


class ReplayCancelled(SorbusError):
    """A person cancelled the replay while it ran."""

    exit_code = ExitCode.REFUSED


class ReplayCounts(NamedTuple):
    """What a replay did so far: events read (of `total`), newest states applied, dead letters, waiting records."""

    events: int = 0
    total: int = 0
    applied: int = 0
    refused: int = 0
    waiting: int = 0


class StoredReplay(NamedTuple):
    """A replay as it is kept. `offsets`: partition -> the offset to be read next."""

    number: int
    flow: str
    request: Mapping[str, object]
    started_at: datetime
    started_by: str
    holder: str
    seen_at: datetime
    state: str
    offsets: Mapping[str, int]
    counts: ReplayCounts


class ReplayJob:
    """A replay that this process runs. Every call may raise TransientError, as `State` does."""

    def __init__(self, state: State, stored: StoredReplay, holder: str) -> None:
        self._state, self._holder, self.stored = state, holder, stored

    def save(self, offsets: Mapping[int, int], counts: ReplayCounts) -> None:
        """Notes how far it has come. ReplayCancelled."""
        rows = self._state.run(
            b"update replay set offsets = %s, events = %s, total = %s, applied = %s, refused = %s, waiting = %s,"
            b" seen_at = now() where number = %s and holder = %s and state = 'running' returning 1",
            (json.dumps(offsets), *counts, self.stored.number, self._holder),
        )
        if not rows:
            raise ReplayCancelled(f"the replay of {self.stored.flow} was cancelled; what it delivered stays")

    def restart(self) -> None:
        """Forgets how far it had come."""
        self.stored = self.stored._replace(offsets={}, counts=ReplayCounts())

    def end(self, state: str) -> None:
        """Notes how it ended: finished, stopped (it can be resumed), or failed."""
        self._state.run(
            b"update replay set state = %s, seen_at = now(), finished_at = case when %s then now() end,"
            # What names records is needed for resuming alone; that there was nothing such, for `whole_since`.
            b" request = case when %s then (request - 'ids' - 'where') || " + _WHOLE + b" else request end"
            b" where number = %s and holder = %s and state = 'running'",
            (state, state == "finished", state == "finished", self.stored.number, self._holder),
        )


class ReplayJobs:
    """The replays of one map."""

    def __init__(self, state: State) -> None:
        self._state = state

    def unfinished(self, flow: str) -> StoredReplay | None:
        """The flow's replay that hasn't ended."""
        rows = self._state.run(_UNFINISHED, (flow,))
        return _stored(rows[0]) if rows else None

    @contextmanager
    def running(self, flow: str, request: Mapping[str, object], who: str) -> Iterator[ReplayJob]:
        """Begins a replay, or resumes the unfinished one of the same request: from its beginning where the topic or the
        map is another by now. ReplayBusy.
        """
        holder = f"{socket.gethostname()} process {os.getpid()}"
        with self._state.lock(f"replay {flow}") as is_ours:
            found = self.unfinished(flow)
            if not is_ours:
                by = f": {found.started_by} began it {_moment(found.started_at)} ({found.holder})" if found else ""
                raise ReplayBusy(
                    f"flow {flow} is being replayed{by}. Wait for it, or end it: sorbus replay {flow} --cancel"
                )
            if found is not None and _asked(found.request) != _asked(request):
                raise ReplayBusy(
                    f"flow {flow} has an unfinished replay that asks for something else ({found.started_by} began it"
                    f" {_moment(found.started_at)}, {found.counts.events:,} of {found.counts.total:,} events are read)."
                    f" Resume it: sorbus replay {flow} --resume; or give it up: sorbus replay {flow} --cancel"
                )
            job = ReplayJob(self._state, self._begin(flow, request, who, holder, found), holder)
            try:
                yield job
            except BaseException as error:
                with suppress(SorbusError):
                    job.end("stopped" if isinstance(error, KeyboardInterrupt) else "failed")
                raise
            job.end("finished")

    def whole_since(self, flow: str, at: float) -> bool:
        """Whether all records of the flow were replayed since then (seconds since 1970)."""
        return self._state.run(_WHOLE_SINCE, (flow, at)) == [(True,)]

    @contextmanager
    def nobody_runs(self, flow: str) -> Iterator[bool]:
        """Whether no process replays the flow, nor begins to while the block lasts."""
        with self._state.lock(f"replay {flow}") as is_ours:
            yield is_ours

    def cancel(self, flow: str, who: str) -> StoredReplay | None:
        """Gives the unfinished replay up; a process that runs it ends at its next step. What it was, if any."""
        found = self.unfinished(flow)
        if found is None:
            return None
        with self._state.connection() as connection:
            connection.execute(
                "update replay set state = 'cancelled', cancelled_by = %s, finished_at = now(),"
                " request = request - 'ids' - 'where' where number = %s"
                " and state in ('running', 'stopped', 'failed')",
                (who, found.number),
            )
            AuditTrail(self._state).note_in(connection, who, "cancel replay", "flow", flow)
        return found

    def _begin(
        self, flow: str, request: Mapping[str, object], who: str, holder: str, found: StoredReplay | None
    ) -> StoredReplay:
        with self._state.connection() as connection:
            if found is None:
                row = connection.execute(_BEGIN, (flow, json.dumps(request), who, holder)).fetchone()
                AuditTrail(self._state).note_in(connection, who, "replay", "flow", flow)
            else:
                if found.request.get(BASIS) != request.get(BASIS):
                    connection.execute(_ANEW, (json.dumps(request), found.number))
                row = connection.execute(_RESUME, (holder, found.number)).fetchone()
        assert row is not None
        return _stored(row)


def _asked(request: Mapping[str, object]) -> dict[str, object]:
    """What a person asked for."""
    return {name: value for name, value in request.items() if name != BASIS}


def _stored(row: tuple[object, ...]) -> StoredReplay:
    head, counts = row[:9], ReplayCounts(*cast("tuple[int, ...]", row[9:14]))
    return StoredReplay(*head, counts)  # type: ignore[arg-type, call-arg]


def _moment(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}"
