"""What is known of a flow's posts: each record's last accepted version, attempts, and since when the endpoint fails."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple, cast
from zlib import crc32

from sorbus.postgres.connection import Connection
from sorbus.state.database import State
from sorbus.state.outdated import delete_in_parts

# Fewer locks than records, so that a batch never needs more than the server has room for.
_BUCKETS = 512
_LOCK = "select pg_advisory_lock(hashtextextended(%s, 0))"
_FIND = "select id, version from webhook_record where flow = %(flow)s and id = any(%(ids)s)"
_PUT = """
insert into webhook_record (flow, id, version)
select %(flow)s, * from unnest(%(ids)s::text[], %(versions)s::bigint[])
on conflict (flow, id) do update set version = greatest(webhook_record.version, excluded.version)
"""
_NOTE = """
insert into webhook_attempt (flow, data_type, at, id, version, message, status, outcome, seconds)
select %(flow)s, %(data_type)s, * from unnest(%(ats)s::timestamptz[], %(ids)s::text[], %(versions)s::bigint[],
    %(messages)s::text[], %(statuses)s::int[], %(outcomes)s::text[], %(seconds)s::real[])
"""
_FORGET = b"""
with gone as (
    delete from webhook_attempt where ctid = any (array(
        select ctid from webhook_attempt where flow = %(flow)s and at < now() - interval '30 days' limit %(most)s
    )) returning 1
)
select count(*) from gone
"""
# Tries are an hour apart at most: what is longer is quiet, paused, or the process was stopped, and nobody tried.
_FAILED = """
insert into webhook_endpoint (flow, failing_since, failures) values (%(flow)s, now(), 1)
on conflict (flow) do update set
    failures = webhook_endpoint.failures + 1,
    failing_since = least(webhook_endpoint.failing_since, now()) + (
        select case when g.gap > interval '2 hours' then g.gap else interval '0' end
        from (
            select %(began)s - greatest(least(webhook_endpoint.failing_since, now()), max(a.at)) as gap
            from webhook_attempt a where a.flow = %(flow)s and a.at < %(began)s
        ) as g
    )
returning extract(epoch from now() - failing_since)::float8, failures
"""
_FAILING = "select id from webhook_failing where flow = %(flow)s and id = any(%(ids)s)"
_NOTE_FAILING = """
insert into webhook_failing (flow, id) select %(flow)s, * from unnest(%(ids)s::text[]) on conflict do nothing
"""
_WELL_AGAIN = "delete from webhook_failing where flow = %(flow)s and id = any(%(ids)s)"
_IS_FAILING = "select exists (select from webhook_endpoint where flow = %(flow)s)"
_WELL = "delete from webhook_endpoint where flow = %(flow)s"


class PostAttempt(NamedTuple):
    """One request as it is recorded. `outcome`: delivered, refused (this record), failed (to be tried again)."""

    at: datetime
    id: str
    version: int
    message: str
    status: int | None
    outcome: str
    seconds: float


class FailingEndpoint(NamedTuple):
    """For how long tries were in vain, in seconds, and how often in a row."""

    seconds: float
    failures: int


class PostLog:
    """One flow's. Every method raises TransientError, AuthError."""

    def __init__(self, state: State, flow: str, data_type: str) -> None:
        self._state, self._flow, self._data_type = state, flow, data_type

    @contextmanager
    def claim(self, ids: Collection[str]) -> Iterator[None]:
        """These records for this process alone, until the block ends or the process does."""
        with self._state.connection() as connection:
            connection.autocommit = True
            try:
                _lock(connection, self._state.schema, self._flow, ids)
                yield
            finally:
                if not connection.broken and not connection.closed:
                    connection.execute("select pg_advisory_unlock_all()")
                    connection.autocommit = False

    def find(self, ids: Collection[str]) -> dict[str, int]:
        """The last accepted version of these records."""
        with self._state.connection() as connection:
            rows = connection.execute(_FIND, {"flow": self._flow, "ids": list(ids)}).fetchall()
        return {cast("str", id): cast("int", version) for id, version in rows}

    def record(self, accepted: Mapping[str, int], attempts: Sequence[PostAttempt], *, is_well: bool) -> None:
        """Keeps what was accepted (id -> version) and what was tried; `is_well`: the endpoint accepts records."""
        of = {"flow": self._flow}
        with self._state.connection() as connection:
            if accepted:
                versions = {"ids": list(accepted), "versions": list(accepted.values())}
                connection.execute(_PUT, {**of, **versions})
                connection.execute(_WELL_AGAIN, {**of, "ids": list(accepted)})
            if attempts:
                columns = [list(column) for column in zip(*attempts, strict=True)]
                names = ("ats", "ids", "versions", "messages", "statuses", "outcomes", "seconds")
                connection.execute(
                    _NOTE, {**of, "data_type": self._data_type, **dict(zip(names, columns, strict=True))}
                )
            if is_well:
                connection.execute(_WELL, of)

    def failed(self, began: datetime) -> FailingEndpoint:
        """Counts one more failure of the endpoint; the posts that failed now `began` then."""
        with self._state.connection() as connection:
            row = connection.execute(_FAILED, {"flow": self._flow, "began": began}).fetchone()
        assert row is not None
        return FailingEndpoint(cast("float", row[0]), cast("int", row[1]))

    def is_failing(self) -> bool:
        """Whether nothing was accepted at the last try."""
        with self._state.connection() as connection:
            return connection.execute(_IS_FAILING, {"flow": self._flow}).fetchone() == (True,)

    def failing(self, ids: Collection[str]) -> set[str]:
        """Those of these records that failed while others were accepted."""
        with self._state.connection() as connection:
            rows = connection.execute(_FAILING, {"flow": self._flow, "ids": list(ids)}).fetchall()
        return {cast("str", id) for (id,) in rows}

    def note_failing(self, ids: Collection[str]) -> None:
        """These failed while others were accepted."""
        if not ids:
            return
        with self._state.connection() as connection:
            connection.execute(_NOTE_FAILING, {"flow": self._flow, "ids": list(ids)})

    def start_over(self) -> None:
        """Forgets that the endpoint failed."""
        with self._state.connection() as connection:
            connection.execute(_WELL, {"flow": self._flow})

    def prune(self) -> None:
        """Forgets attempts older than 30 days."""
        delete_in_parts(self._state, _FORGET, {"flow": self._flow})


def _lock(connection: Connection, schema: str, flow: str, ids: Collection[str]) -> None:
    """In one order, so that two processes never wait for each other."""
    buckets = sorted({crc32(id.encode("utf-8", "surrogatepass")) % _BUCKETS for id in ids})
    keys = [f"{schema} webhook {flow} {bucket}" for bucket in buckets]
    with connection.cursor() as cursor:
        cursor.executemany(_LOCK, [(key,) for key in keys])
