"""Sorbus's own PostgreSQL database: state shared by all processes that is not on a topic.

All tables are in one schema per map, `sorbus` and the map's topic prefix, so that maps may share a database. The role
of SORBUS_DATABASE needs `create` on that database, or an empty schema of that name that it owns; nothing else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib.resources import files
from threading import Lock
from typing import NamedTuple

from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout
from pydantic import SecretStr

from sorbus.connector import Step
from sorbus.errors import SorbusError, TransientError, missing
from sorbus.postgres.connection import (
    Connection,
    PostgresConnection,
    commit_durably,
    connect,
    full_dsn,
    is_readable,
    postgres_errors,
)
from sorbus.settings import Settings

LARGEST = 10
"""Maximum connections of one process, for each flow in it; opened on demand and closed when idle for a minute."""

_LIMITS = "-c statement_timeout=30s -c lock_timeout=20s -c idle_in_transaction_session_timeout=60s"
_DOING = "using Sorbus's own state (SORBUS_DATABASE)"
_HISTORY = sql.SQL(
    "create table if not exists migration ("
    " name text primary key, hash text not null, applied_at timestamptz not null default now())"
)
_LONGEST_NAME = 63
"""Bytes of a name in PostgreSQL, which cuts longer ones."""
_WHOSE = "Sorbus's state of the map with the topic prefix "
_KAFKA = " in Kafka "
"""A schema's comment has these before a prefix and a cluster's id: prefixes that differ in punctuation share a name."""
_RENAMED = {"0022_merged.sql": "0026_merged.sql", "0022_sending.sql": "0027_sending.sql"}
"""Migrations that were applied under another name: three files once shared a number."""
_shared: dict[tuple[str, str], State] = {}
_shared_lock = Lock()
_NOT_MADE = (errors.UndefinedTable, errors.UndefinedFunction, errors.UndefinedColumn, errors.InvalidSchemaName)


class State:
    """One process's connections to the state; thread-safe. Connects on first use, and again after `close`."""

    _least, _most = 0, LARGEST

    def __init__(self, dsn: str, prefix: str = "") -> None:
        self._connection, self.prefix = PostgresConnection(dsn=SecretStr(dsn)), prefix
        self.schema = schema_of(prefix)
        self._pool: ConnectionPool[Connection] | None = None
        self._lock = Lock()

    @classmethod
    def of(cls, prefix: str) -> State:
        """The state of SORBUS_DATABASE: one shared object per process."""
        dsn = Settings().database
        with _shared_lock:
            return _shared.setdefault((dsn, prefix), State(dsn, prefix))

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection in a transaction: committed at the block's end, rolled back by an exception.

        TransientError if the database is unreachable, too slow, or not created yet; AuthError if it rejects us;
        PermanentError if it rejects a value.
        """
        with _of_state(), postgres_errors(_DOING):
            try:
                with self._opened().connection() as connection, _closed_if_read_only(connection):
                    yield connection
            except PoolTimeout as error:
                with connect(self._connection, "state"):  # raises the cause, if the database is still away
                    is_full = self._opened().get_stats().get("pool_size", 0) >= self._most
                    busy = f"all {self._most} connections are busy"
                    why = busy if is_full else "its connections are being opened again"
                    raise TransientError(f"{_DOING}: {why}; try again") from error
            except _NOT_MADE as error:
                words = error.diag.message_primary
                raise TransientError(f"{_DOING}: {words}: run `sorbus apply`, which creates the state") from error

    def run(self, statement: bytes, values: Sequence[object] | Mapping[str, object] = ()) -> list[tuple[object, ...]]:
        """Runs one statement in its own transaction, in a single round trip, and returns its rows."""
        with self.connection() as connection:
            connection.autocommit = True
            try:
                cursor = connection.execute(statement, values)
                return cursor.fetchall() if cursor.description else []
            finally:
                if not connection.broken:
                    connection.autocommit = False

    @contextmanager
    def lock(self, name: str) -> Iterator[bool]:
        """A lock that one process at a time has, for the block; False if another has it. It ends with the process."""
        key = f"{self.schema} {name}"
        with self.connection() as connection:
            connection.autocommit = True
            try:
                row = connection.execute("select pg_try_advisory_lock(hashtextextended(%s, 0))", (key,)).fetchone()
                yield row == (True,)
            finally:
                if not connection.closed:
                    connection.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", (key,))
                    connection.autocommit = False

    @classmethod
    def allow(cls, flows: int) -> None:
        """Allows as many connections as so many processes of one flow may have. Before the first use."""
        cls._most = LARGEST * flows

    def close(self) -> None:
        """Closes all connections."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def _share(self, other: State) -> None:
        """Begins as another connection to the same state."""
        self._connection, self.schema, self.prefix = other._connection, other.schema, other.prefix
        self._pool, self._lock = None, Lock()

    def _prepare(self, connection: Connection) -> None:
        """Called with each new connection; leaves no transaction open."""
        commit_durably(connection)  # events wait here once their offsets have moved
        connection.commit()

    def _opened(self) -> ConnectionPool[Connection]:
        with self._lock:
            if self._pool is None:
                connect(self._connection, "state").close()  # raises at once what the pool would only retry
                dsn = full_dsn(self._connection, "state")
                options = f"{conninfo_to_dict(dsn)['options']} -c search_path={self.schema} {_LIMITS}"
                self._pool = ConnectionPool(
                    make_conninfo(dsn, options=options),
                    min_size=self._least,
                    max_size=self._most,
                    configure=self._prepare,
                    max_idle=10,
                    timeout=5,
                    reconnect_timeout=5,
                    check=_check,
                    name=f"state {self.schema}",
                    open=True,
                )
            return self._pool


@contextmanager
def _closed_if_read_only(connection: Connection) -> Iterator[None]:
    """After a failover a session may be one with a standby: the next one is opened where the address leads then."""
    try:
        yield
    except errors.ReadOnlySqlTransaction:
        connection.close()
        raise


@contextmanager
def _of_state() -> Iterator[None]:
    try:
        yield
    except TransientError as error:
        raise missing("state", error)  # noqa: B904  # the same error


def _check(connection: Connection) -> None:
    """Raises if an idle connection was closed: only then is it readable. Costs no round trip."""
    if is_readable(connection.fileno(), 0):
        ConnectionPool.check_connection(connection)


def is_not_made(error: SorbusError) -> bool:
    """Whether it says that the state was never made, or not as this release needs it."""
    return isinstance(error.__cause__, _NOT_MADE)


def schema_of(prefix: str) -> str:
    """The schema that holds the state of the map with this topic prefix."""
    name = f"sorbus_{re.sub(r'[^a-z0-9]', '_', prefix.lower())}" if prefix else "sorbus"
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 9]}_{hashlib.sha256(prefix.encode()).hexdigest()[:8]}"


def close_states() -> None:
    """Closes the connections of all states from `State.of`, and forgets them."""
    with _shared_lock:
        states = list(_shared.values())
        _shared.clear()
    for state in states:
        state.close()


class Migration(NamedTuple):
    """One file of migrations/."""

    name: str
    script: str

    @property
    def hash(self) -> str:
        """Of its content, regardless of line endings."""
        return hashlib.sha256("\n".join(self.script.splitlines()).encode()).hexdigest()


def migrate(state: State) -> list[str]:
    """Brings the state's tables up to date and returns what was applied. Idempotent, and safe to run concurrently.

    SorbusError if an applied migration has changed since, or another map has it; TransientError, AuthError.
    """
    with state.connection() as connection, postgres_errors(_DOING):
        _refuse_foreign(connection, state.schema, state.prefix)
        applied = _applied(connection, state.schema)
    done = []
    for migration in migrations():
        if not _pending(migration, applied):
            continue
        with state.connection() as connection, postgres_errors(_DOING):
            connection.execute("set local statement_timeout = 0")
            connection.execute(
                "select pg_advisory_xact_lock(hashtextextended('sorbus migrate ' || %s, 0))", (state.schema,)
            )
            if not _has_schema(connection, state.schema):
                connection.execute(sql.SQL("create schema {}").format(sql.Identifier(state.schema)))
            if _refuse_foreign(connection, state.schema, state.prefix) is None:
                _claim(connection, state.schema, state.prefix)
            connection.execute(_HISTORY)
            if not _pending(migration, _applied(connection, state.schema)):
                continue
            connection.execute(migration.script.encode())
            connection.execute("insert into migration (name, hash) values (%s, %s)", (migration.name, migration.hash))
        done.append(migration.name)
    return done


def plan_state(dsn: str, prefix: str, kafka: str = "") -> list[Step]:
    """The step that creates the state or brings it up to date; none if it is. Errors as in `migrate`.

    `kafka`: the cluster's id. A state that another cluster's processes have used is taken over by a step of its own.
    """
    schema = schema_of(prefix)
    with connect(PostgresConnection(dsn=SecretStr(dsn)), "plan") as connection, postgres_errors(_DOING):
        said = _refuse_foreign(connection, schema, prefix) or ""
        applied = _applied(connection, schema)
    missing = [migration.name for migration in migrations() if _pending(migration, applied)]
    other = said.partition(_KAFKA)[2]

    def run() -> None:
        state = State(dsn, prefix)
        try:
            migrate(state)
            if kafka and (not said or said.startswith(_WHOSE)):
                with state.connection() as connection:
                    _claim(connection, schema, prefix, kafka)
        finally:
            state.close()

    if kafka and other not in ("", kafka):
        words = (
            f"it is that of this map in another Kafka (cluster {other}, and this one is {kafka}). Where that runs, give"
            " one of them a database of its own (SORBUS_DATABASE): each would take what the other has deferred"
        )
        return [Step("state database", f"take over schema {schema}", words, run)]
    if not missing:
        return []
    return [
        Step(
            "state database",
            f"create schema {schema}" if not applied else f"bring schema {schema} up to date",
            "\n".join(missing),
            run,
        )
    ]


@cache
def migrations() -> tuple[Migration, ...]:
    """All migrations, in order."""
    folder = files("sorbus.state") / "migrations"
    found = [Migration(file.name, file.read_text("utf-8")) for file in folder.iterdir() if file.name.endswith(".sql")]
    return tuple(sorted(found))


def _pending(migration: Migration, applied: dict[str, str]) -> bool:
    known = applied.get(migration.name)
    if known is not None and known != migration.hash:
        raise SorbusError(
            f"Sorbus's own state: {migration.name} has changed since it was applied; restore the file"
            " (git log) and put the changes into a file with the next number"
        )
    return known is None


def _has_schema(connection: Connection, schema: str) -> bool:
    return connection.execute("select 1 from pg_namespace where nspname = %s", (schema,)).fetchone() is not None


def _refuse_foreign(connection: Connection, schema: str, prefix: str) -> str | None:
    """What the schema's comment says; None without one. SorbusError if that is another map."""
    row = connection.execute(
        "select obj_description(oid, 'pg_namespace') from pg_namespace where nspname = %s", (schema,)
    ).fetchone()
    said = str(row[0]) if row is not None and row[0] is not None else None
    if said is None or not said.startswith(_WHOSE):
        return said
    other = said.removeprefix(_WHOSE).partition(_KAFKA)[0]
    if other != prefix:
        raise SorbusError(
            f"the schema {schema} holds the state of the map with topic_prefix {other!r}, and this"
            f" one has {prefix!r}: give one of them another prefix, or a database of its own (SORBUS_DATABASE)"
        )
    return said


def _claim(connection: Connection, schema: str, prefix: str, kafka: str = "") -> None:
    with suppress(errors.InsufficientPrivilege), connection.transaction():  # an administrator's schema
        comment = sql.SQL("comment on schema {} is {}")
        whose = f"{_WHOSE}{prefix}{_KAFKA}{kafka}" if kafka else _WHOSE + prefix
        connection.execute(comment.format(sql.Identifier(schema), sql.Literal(whose)))


def _applied(connection: Connection, schema: str) -> dict[str, str]:
    """Name -> hash of every migration applied so far."""
    if connection.execute("select to_regclass(quote_ident(%s) || '.migration')", (schema,)).fetchone() == (None,):
        return {}
    history = sql.SQL("select name, hash from {}").format(sql.Identifier(schema, "migration"))
    rows = connection.execute(history).fetchall()
    return {_RENAMED.get(str(name), str(name)): str(hash) for name, hash in rows}
