"""Connecting to MySQL or MariaDB: session settings that decide how values are written, TLS, limits."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from sorbus.errors import AuthError
from sorbus.mysql.faults import as_error

if TYPE_CHECKING:
    import pymysql

Row = tuple[object, ...]
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_STRICT = (
    "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,"
    "NO_AUTO_VALUE_ON_ZERO"
)
_LONGEST_ANSWER = 300
"""Seconds that a statement's answer may take before the connection counts as broken."""


class MysqlConnection(BaseModel):
    """The `connection:` of a system of kind mysql."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "localhost"
    port: int = Field(default=3306, ge=1, le=65535)
    socket: str | None = Field(default=None, description="A Unix socket's path, in place of host and port.")
    user: str
    password: SecretStr = Field(default=SecretStr(""), description="As ${NAME}.")
    database: str = Field(min_length=1, description="Where tables without a database in their name are.")
    tls: Literal["verify", "require", "off"] | None = Field(
        default=None,
        description="verify: checks the server's certificate (the default, except on this machine, where it is off);"
        " require: encrypts without checking.",
    )
    ca: str | None = Field(default=None, description="A file with the certificates that the server's must come from.")
    replica_id: int | None = Field(
        default=None,
        ge=1,
        lt=1 << 32,
        description="The server_id under which a source's log is read; no replica of the server may have it.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.ca is not None and self.tls in ("off", "require"):
            raise ValueError(f"`ca` needs `tls: verify`, and it is {self.tls}")
        return self

    @property
    def is_local(self) -> bool:
        return self.socket is not None or self.host in _LOOPBACK

    def tls_context(self) -> ssl.SSLContext | None:
        """AuthError when the certificates can't be read."""
        mode = self.tls or ("off" if self.is_local and self.ca is None else "verify")
        if mode == "off":
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except (OSError, ssl.SSLError) as error:
            raise AuthError(f"the certificates of `ca: {self.ca}` can't be read: {error}") from error
        if mode == "require":
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context


class Session:
    """A connection whose values come as the server writes them: text as str, binary as bytes, all else as its text."""

    def __init__(
        self,
        connection: MysqlConnection,
        purpose: str,
        *,
        autocommit: bool = True,
        answer_within: float = _LONGEST_ANSWER,
        many_statements: bool = False,
    ) -> None:
        """TransientError: it is unreachable; AuthError: it rejects us. `many_statements`: for `execute_each`."""
        self._doing = f"connecting for {purpose}"
        try:
            with mysql_errors(self._doing):
                self.raw = _connect(
                    connection, purpose, autocommit=autocommit, answer_within=answer_within,
                    many_statements=many_statements,
                )  # fmt: skip
        except RuntimeError as error:  # of a way to log in for which the client library lacks a package
            raise AuthError(
                f"{self._doing}: {error}. Install it where Sorbus runs, or let an administrator give our user"
                " another authentication plugin"
            ) from error

    def query(self, statement: str, parameters: Sequence[object] | None = None) -> list[Row]:
        """The rows of a statement, in which %% is a per cent sign. pymysql.Error."""
        with self.raw.cursor() as cursor:
            cursor.execute(statement, parameters or ())
            return cast("list[Row]", list(cursor.fetchall()))

    def execute(self, statement: str, parameters: Sequence[object] | None = None) -> int:
        """How many rows a statement found. pymysql.Error."""
        with self.raw.cursor() as cursor:
            return int(cursor.execute(statement, parameters or ()))

    def execute_each(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Executes a statement with each row's parameters, in one message, until one fails. pymysql.Error."""
        with self.raw.cursor() as cursor:
            cursor.execute("; ".join(cursor.mogrify(statement, row) for row in rows))
            while cursor.nextset():
                continue

    def value(self, statement: str, parameters: Sequence[object] | None = None) -> str | None:
        """The first value of the first row as text. pymysql.Error."""
        rows = self.query(statement, parameters)
        return None if not rows or rows[0][0] is None else str(rows[0][0])

    def variables(self, *names: str) -> dict[str, str]:
        """Global variables by name in lower case; those that the server doesn't know are left out."""
        marks = ", ".join(["%s"] * len(names))
        rows = self.query(f"show global variables where variable_name in ({marks})", names)
        return {str(name).lower(): str(value) for name, value in rows}

    @property
    def is_open(self) -> bool:
        return bool(self.raw.open)

    @property
    def is_mariadb(self) -> bool:
        return "mariadb" in str(self.raw.get_server_info()).lower()

    def close(self) -> None:
        """At once, also in the middle of an answer."""
        with suppress(OSError, AttributeError):  # whoever waits for an answer stops waiting
            self.raw._sock.shutdown(socket.SHUT_RDWR)
        self.raw._force_close()  # `close` would wait for the server


def _connect(
    connection: MysqlConnection, purpose: str, *, autocommit: bool, answer_within: float, many_statements: bool
) -> pymysql.connections.Connection:
    import pymysql
    from pymysql.constants.CLIENT import MULTI_STATEMENTS
    from pymysql.converters import conversions

    encoders = {kind: encode for kind, encode in conversions.items() if not isinstance(kind, int)}
    where: dict[str, Any] = (
        {"unix_socket": connection.socket} if connection.socket else {"host": connection.host, "port": connection.port}
    )
    return pymysql.connect(
        **where,
        user=connection.user,
        password=connection.password.get_secret_value(),
        database=connection.database,
        charset="utf8mb4",
        autocommit=autocommit,
        conv=encoders,
        connect_timeout=5,
        read_timeout=answer_within,
        write_timeout=60,
        ssl=connection.tls_context(),
        ssl_disabled=connection.tls == "off",
        program_name=f"sorbus {purpose}",
        max_allowed_packet=1 << 30,
        client_flag=MULTI_STATEMENTS if many_statements else 0,
        init_command=f"set session time_zone = '+00:00', sql_mode = '{_STRICT}', group_concat_max_len = 1000000,"
        " sql_safe_updates = 0, sql_select_limit = default, sql_quote_show_create = 1",
    )


@contextmanager
def mysql_errors(doing: str) -> Iterator[None]:
    """Raises pymysql's errors in its block as TransientError, AuthError or PermanentError."""
    import pymysql

    try:
        yield
    except (pymysql.Error, OSError) as error:
        raise as_error(error, doing) from error


@contextmanager
def session_for(connection: MysqlConnection, purpose: str, doing: str, **options: bool) -> Iterator[Session]:
    """A session for one task; its errors as Sorbus's."""
    session = Session(connection, purpose, **options)
    try:
        with mysql_errors(doing):
            yield session
    finally:
        session.close()


def quoted(*names: str) -> str:
    """Names as SQL: `database`.`table`. Statements are filled by %, so theirs are doubled."""
    return ".".join("`" + name.replace("`", "``").replace("%", "%%") + "`" for name in names)
