"""Connecting to PostgreSQL, and its errors as Sorbus's (SQLSTATE: PostgreSQL documentation, appendix A)."""

from __future__ import annotations

import select
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from sorbus.errors import AuthError, PermanentError, SorbusError, TransientError, missing
from sorbus.postgres.sqlstate import about
from sorbus.write_fault import About

Connection = psycopg.Connection[tuple[object, ...]]


class PostgresConnection(BaseModel):
    """The `connection:` of a system of kind postgres."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dsn: SecretStr = Field(description="A libpq connection string or postgresql:// URL, as ${NAME}.")


_SETTINGS = {
    "client_encoding": "UTF8",
    "TimeZone": "UTC",
    "DateStyle": "ISO,YMD",
    "IntervalStyle": "iso_8601",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lc_monetary": "C",
    "xmloption": "content",
    "array_nulls": "on",
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "default_transaction_isolation": r"read\ committed",
}
"""Everything that determines how a value is written or read as text, whatever the role's and database's defaults; and
that a statement that had to wait for a lock sees what it waited for.
"""


_UNHURRIED = {"statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}
"""For work that takes as long as tables are large: given at connecting, before a role's own limits count."""


def read_dsn(connection: PostgresConnection) -> dict[str, object]:
    """What a connection string says, by libpq's names. AuthError, which doesn't quote it."""
    dsn = connection.dsn.get_secret_value()
    try:
        given: dict[str, object] = {**conninfo_to_dict(dsn)}
    except psycopg.ProgrammingError:  # its words may quote a part of a password
        raise AuthError("the dsn is not a connection string; write postgresql://USER@HOST/DATABASE") from None
    hosts, ports = str(given.get("host") or ""), str(given.get("port") or "").replace(",", "")
    is_url = dsn.startswith(("postgresql://", "postgres://"))
    path = dsn.partition("?")[0].partition("://")[2].partition("/")[2] if is_url else ""
    if "@" in hosts.lstrip("@") or "@" in path or not (ports.isdecimal() or not ports):
        raise AuthError(
            "the dsn's host, port or database can't be one; in a URL write special characters of a user or password"
            " percent-encoded: @ as %40, / as %2F, : as %3A, ? as %3F, # as %23"
        )
    return given


_DEAD_LINE = {
    "connect_timeout": "5",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",  # keepalives watch only a line that owes us no answer: else Linux tries for 15 minutes
}
"""How soon a server that vanished without a word is noticed, as libpq's parameters."""


def full_dsn(connection: PostgresConnection, application: str, *, unhurried: bool = False, **more: str) -> str:
    """The connection string with our session settings: how values are written, keepalives, a name for pg_stat.

    `unhurried`: the role's limits of time are lifted.
    """
    given = read_dsn(connection)
    settings = {**_SETTINGS, **(_UNHURRIED if unhurried else {})}
    options = " ".join([str(given.get("options") or ""), *(f"-c {name}={value}" for name, value in settings.items())])
    defaults = dict(_DEAD_LINE)
    if "," in str(given.get("host") or given.get("hostaddr") or ""):  # a primary and its standbys
        defaults["target_session_attrs"] = "read-write"
    merged = {**defaults, **given, "options": options.strip(), "application_name": f"sorbus {application}"[:63], **more}
    return make_conninfo(**{key: value for key, value in merged.items() if value is not None})


def hosts_of(connection: PostgresConnection) -> dict[str, PostgresConnection]:
    """Each server that a dsn names, by HOST:PORT; several are a primary and its standbys. AuthError."""
    given = conninfo_to_dict(full_dsn(connection, ""))
    for name in ("options", "application_name", "target_session_attrs"):
        given.pop(name, None)
    hosts = {name: str(given.get(name) or "").split(",") for name in ("host", "hostaddr", "port")}
    count = max(map(len, hosts.values()))
    found = {}
    for place in range(count):
        one = {name: each[place] if len(each) == count else each[0] for name, each in hosts.items()}
        parts = {name: str(value) for name, value in {**given, **one}.items() if value not in (None, "")}
        dsn = make_conninfo(**parts)
        label = f"{one['host'] or one['hostaddr'] or 'localhost'}:{one['port'] or 5432}"
        found[label] = PostgresConnection(dsn=SecretStr(dsn))
    return found


_REPORTED = {"TimeZone": "UTC", "IntervalStyle": "iso_8601"}
"""Those of our session settings that the server reports itself and that differ from every default."""
_POOLER = (
    "a connection pooler (PgBouncer, Odyssey) stands between Sorbus and PostgreSQL and keeps session settings back."
    " Sorbus needs sessions of its own, for settings, temporary tables and replication: write a dsn that reaches the"
    " server itself (usually port 5432)"
)
_POOLERS_SAY = ("unsupported startup parameter", "unsupported replication option")


def connect(
    connection: PostgresConnection, application: str, *, autocommit: bool = False, unhurried: bool = False
) -> Connection:
    """Connects. TransientError if the server is unreachable, AuthError if it rejects us.

    `unhurried`: the role's limits of time are lifted.
    """
    with postgres_errors(f"connecting for {application}"):
        session = psycopg.connect(full_dsn(connection, application, unhurried=unhurried), autocommit=True)
        if unhurried:
            lift_transaction_limit(session)
        session.autocommit = autocommit
    if lost := {name: wanted for name, wanted in _REPORTED.items() if session.info.parameter_status(name) != wanted}:
        session.close()
        raise AuthError(f"connecting for {application}: the session doesn't have {_said(lost)}: {_POOLER}")
    return session


def commit_durably(session: Connection) -> None:
    """What this session commits outlives a crash of the server, whatever `synchronous_commit` is there."""
    session.execute(
        "select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'"
    )


def lift_transaction_limit(session: Connection) -> None:
    """What `unhurried` can't give at connecting, since older servers don't have it. In no transaction."""
    if session.info.server_version >= 170000:
        session.execute("set transaction_timeout = 0")


def _said(settings: Mapping[str, str]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in settings.items())


def is_readable(descriptor: int, seconds: float | None, *others: int) -> bool:
    """Waits until a socket (or another) is readable, at most `seconds`; None: forever. Works above descriptor 1023."""
    waiting = select.poll()
    for each in (descriptor, *others):
        waiting.register(each, select.POLLIN)
    return bool(waiting.poll(None if seconds is None else max(0.0, seconds * 1000)))


_REPEATS_THE_ROW = ("23502", "23514")
"""Not null, check: their detail is the whole row, and the message names the column or constraint."""


def is_of_tables(state: str | None) -> bool:
    """Whether a table lacks what a statement needs, whatever the record: no column, key or type of that name."""
    return state is not None and state[:2] in ("42", "3F") and state != "42501"


# A failed connection has no SQLSTATE (libpq), so match the messages of PostgreSQL and of poolers.
_REFUSED_LOGINS = (
    "authentication failed",
    "is not permitted to log in",
    "no password supplied",
    "requires a valid client certificate",
    "auth failed",
    "no such user",
    "login rejected",
)


def is_login(state: str | None, words: str) -> bool:
    """Whether a password was rejected, so that a retry could lock the account."""
    return (state or "").startswith("28") or any(sign in words for sign in _REFUSED_LOGINS)


def is_away(state: str | None) -> bool:
    """Whether the server is unreachable, shutting down or starting up."""
    return state is None or state[:2] == "08" or state[:3] == "57P"


def as_error(error: psycopg.Error, doing: str) -> SorbusError:
    """A PostgreSQL error as one of Sorbus's; a rejected value is a PermanentError with the server's own message."""
    state = error.sqlstate
    if state is None and isinstance(error, psycopg.DataError):  # it wasn't even sent: text with NUL, an integer's range
        return refused_error(error, doing)
    words = _words(error)
    what = about(state)
    if any(sign in str(error) for sign in _POOLERS_SAY):
        return AuthError(f"{doing}: PostgreSQL can't be used this way: {words}: {_POOLER}")
    refused = state is None and any(
        sign in str(error)
        for sign in (
            *_REFUSED_LOGINS,
            "does not exist",
            "no pg_hba.conf entry",
            "no such database",
            "bouncer config error",
        )
    )
    if what is About.ACCESS or state == "42501" or refused:
        fix = "a person has to fix the role, grant or dsn"
        if "affected by row-level security" in words:
            fix = "it would hide rows: let an administrator run `alter role ... bypassrls` for this role"
        found = AuthError(f"{doing}: PostgreSQL denies access: {words}; {fix}")
        found.lockout = is_login(state, str(error))
        return found
    passes = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and what is not About.RECORD
    if passes or what in (About.SYSTEM, About.LOAD) or state == "XX000":
        what_now = "be reached" if state is None else "do it now"
        later = TransientError(f"{doing}: PostgreSQL can't {what_now}: {words}")
        return missing("system", later) if is_away(state) else later
    return refused_error(error, doing)


def refused_error(error: psycopg.Error, doing: str) -> PermanentError:
    """The error as a single record's, with the server's own message."""
    words, diag = _words(error), error.diag
    return PermanentError(
        f"{doing}: PostgreSQL rejects it: {words}",
        reason=type(error).__name__,
        field=diag.column_name or diag.constraint_name,
        words=words,
    )


def _words(error: psycopg.Error) -> str:
    detail = None if error.sqlstate in _REPEATS_THE_ROW else error.diag.message_detail
    return " ".join(part for part in (error.diag.message_primary, detail) if part) or _one_line(str(error))


def _one_line(words: str) -> str:
    """libpq's message for a failed connection, one line per address tried, without its (indented) hints."""
    lines = [line.strip() for line in words.splitlines() if line.strip() and not line[0].isspace()]
    return "; ".join(lines).removeprefix("connection failed: ")


@contextmanager
def postgres_errors(doing: str) -> Iterator[None]:
    """Raises psycopg's errors in its block as TransientError, AuthError or PermanentError."""
    try:
        yield
    except psycopg.Error as error:
        raise as_error(error, doing) from error


@contextmanager
def target_errors(doing: str) -> Iterator[None]:
    """As TransientError or AuthError: of what is about no record, or whose records at fault have been set aside."""
    try:
        with postgres_errors(doing):
            yield
    except PermanentError as error:
        raise TransientError(str(error)) from error
