"""Whether a server logs what capturing needs, in plain words with the statement that changes it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import sorbus.producers.mysql.gtids as sets
from sorbus.mysql.connection import Row, Session
from sorbus.producers.mysql.row_images import ServerCharsets

_VARIABLES = (
    "log_bin", "binlog_format", "binlog_row_image", "binlog_row_metadata", "server_id", "gtid_mode",
    "enforce_gtid_consistency", "binlog_transaction_compression", "binlog_row_value_options", "version",
    "server_uuid", "server_uid", "binlog_expire_logs_seconds", "expire_logs_days", "log_slave_updates",
    "log_replica_updates", "read_only", "sync_binlog", "innodb_flush_log_at_trx_commit",
)  # fmt: skip
_IN_FILE = "in the server's configuration file, under [mysqld], and restart it"
_GRANT = re.compile(r"grant (.*?) on (\*|`(?:[^`]|``)+`)\.\* to ", re.IGNORECASE)
_SEES = re.compile(r"\btrigger\b|\ball privileges\b", re.IGNORECASE)
_UNKNOWN = {1064, 1054, 1109, 1227}
"""What a server answers to a statement, column or table that it doesn't know, and to one that needs a privilege."""


class ServerFault(NamedTuple):
    """A setting that keeps changes out of the log, and its fix."""

    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}: {self.fix}"


class MysqlServer(NamedTuple):
    """A server as it says itself. `identity`: its own unique name."""

    is_mariadb: bool
    identity: str
    variables: dict[str, str]

    @property
    def read_position(self) -> str:
        """The statement that gives what its log has."""
        return "select @@global.gtid_binlog_pos" if self.is_mariadb else "select @@global.gtid_executed"


def read_server(session: Session) -> MysqlServer:
    """What the server says of itself. pymysql.Error."""
    found = session.variables(*_VARIABLES)
    identity = found.get("server_uuid") or found.get("server_uid") or f"server_id {found.get('server_id', '?')}"
    return MysqlServer(session.is_mariadb, identity, found)


def server_faults(session: Session, server: MysqlServer) -> list[ServerFault]:
    """Everything that keeps it from being captured. pymysql.Error."""
    return [
        *_setting_faults(server),
        *_replica_faults(session, server),
        *_grant_faults(session, server),
        *_filter_faults(session),
    ]


def _setting_faults(server: MysqlServer) -> Iterator[ServerFault]:
    get = server.variables.get
    if get("log_bin") != "ON":
        yield ServerFault("the binary log is off (log_bin)", f"write `log_bin` and `server_id = 1` {_IN_FILE}")
    for name, wanted in (("binlog_format", "ROW"), ("binlog_row_image", "FULL"), ("binlog_row_metadata", "FULL")):
        if (value := get(name)) is None:
            yield ServerFault(f"the server has no {name}", "it is older than MySQL 8.0.14 or MariaDB 10.5: upgrade it")
        elif value.upper() != wanted:
            yield ServerFault(f"{name} is {value}", f"run `SET GLOBAL {name} = {wanted};`, and write it {_IN_FILE}")
    if get("server_id") == "0":
        yield ServerFault("server_id is 0", f"write `server_id = 1` {_IN_FILE}")
    if server.is_mariadb:
        return
    if get("gtid_mode") != "ON":
        yield ServerFault(
            f"gtid_mode is {get('gtid_mode')}", f"write `gtid_mode = ON` and `enforce_gtid_consistency = ON` {_IN_FILE}"
        )
    if get("binlog_transaction_compression") == "ON":
        yield ServerFault("transactions are compressed", "run `SET GLOBAL binlog_transaction_compression = OFF;`")
    if get("binlog_row_value_options"):
        yield ServerFault("only parts of JSON values are logged", "run `SET GLOBAL binlog_row_value_options = '';`")


def _grant_faults(session: Session, server: MysqlServer) -> Iterator[ServerFault]:
    lines = [str(row[0]).upper() for row in session.query("show grants")]
    if any(" ON " not in line for line in lines):  # roles, whose rights aren't listed: the server will say
        return
    grants = " ".join(lines)
    user = session.value("select current_user()") or ""
    account = "@".join(f"'{part}'" for part in user.rsplit("@", 1))
    if " ON *.*" in grants and "ALL PRIVILEGES ON *.*" in grants:
        return
    wanted = ["REPLICATION SLAVE", "BINLOG MONITOR" if server.is_mariadb else "REPLICATION CLIENT"]
    missing = [
        name
        for name in wanted
        if name not in grants and not (name == "BINLOG MONITOR" and "REPLICATION CLIENT" in grants)
    ]
    if missing:
        yield ServerFault(
            f"{user} may not read the log",
            f"let an administrator run `GRANT {', '.join(missing)} ON *.* TO {account};`",
        )


def sees_triggers(session: Session, databases: Iterable[str]) -> bool:
    """Whether our user has the right without which a server lists no triggers, in all of these. pymysql.Error."""
    granted = [found for row in session.query("show grants") if (found := _GRANT.match(str(row[0])))]
    where = {found[2].replace("\\", "").replace("``", "`").lower() for found in granted if _SEES.search(found[1])}
    return "*" in where or {f"`{name.lower()}`" for name in databases} <= where


def _replica_faults(session: Session, server: MysqlServer) -> Iterator[ServerFault]:
    logs = server.variables.get("log_replica_updates") or server.variables.get("log_slave_updates")
    if logs != "OFF":
        return
    statements = ("show all slaves status",) if server.is_mariadb else ("show replica status", "show slave status")
    found = next((rows for one in statements if (rows := _known(session, one)) is not None), None)
    if found is None and server.is_mariadb:  # who may not ask still sees which transactions came from a primary
        found = session.query("select 1 where @@global.gtid_slave_pos <> ''")
    if found:
        yield ServerFault(
            "the server is a replica that doesn't log what it gets from its primary (log_slave_updates is OFF)",
            f"write `log_slave_updates = ON` {_IN_FILE}, or capture from its primary; if it is no replica any more, let"
            " an administrator run `RESET SLAVE ALL;` and `SET GLOBAL gtid_slave_pos = '';`",
        )


def _filter_faults(session: Session) -> Iterator[ServerFault]:
    for statement in ("show binary log status", "show master status"):
        rows = _known(session, statement)  # older servers know the second, newer ones the first alone
        if rows is None:
            continue
        for row in rows:
            only, never = (str(value or "") for value in row[2:4])
            if only or never:
                which = f"binlog_do_db = {only}" if only else f"binlog_ignore_db = {never}"
                yield ServerFault(
                    f"the log leaves databases out ({which})",
                    f"take the line out {_IN_FILE.replace('in the', 'of the', 1)}",
                )
        return


def _known(session: Session, statement: str) -> list[Row] | None:
    """The rows of a statement; None where the server doesn't know it, or our role may not. pymysql.Error."""
    from pymysql.err import MySQLError

    try:
        return session.query(statement)
    except MySQLError as error:
        if error.args and error.args[0] in _UNKNOWN:
            return None
        raise


def unsafe_settings(server: MysqlServer) -> list[str]:
    """Settings with which a crash takes back what was committed, from the tables or from the log alone."""
    safe = {"sync_binlog": ("1",), "innodb_flush_log_at_trx_commit": ("1", "3")}
    found = {name: server.variables.get(name, "1") for name in safe}
    return [f"{name} is {value}" for name, value in found.items() if value not in safe[name]]


def retention_days(server: MysqlServer) -> float | None:
    """Days that the server keeps its log; None: for ever."""
    seconds = int(server.variables.get("binlog_expire_logs_seconds", "0") or 0)
    days = float(server.variables.get("expire_logs_days", "0") or 0)
    return (seconds / 86_400 if seconds else days) or None


def read_charsets(session: Session) -> ServerCharsets:
    """The server's collations, and what each byte of its one-byte character sets means. pymysql.Error."""
    numbers: dict[int, str] = {}
    for statement in (
        "select id, character_set_name from information_schema.collations where id is not null",
        "select id, character_set_name from information_schema.collation_character_set_applicability"
        " where id is not null",
    ):
        rows = _known(session, statement) or []  # only MariaDB 10.10 and newer know the second
        numbers.update({int(str(number)): str(name) for number, name in rows if name is not None})
    letters: dict[str, dict[int, str]] = {}
    one_byte = session.query("select character_set_name from information_schema.character_sets where maxlen = 1")
    high = bytes(range(128, 256)).hex()
    for (name,) in one_byte:
        charset = str(name)
        if charset in ("binary", "ascii"):
            continue
        low = session.value(f"select convert(_{charset} x'{bytes(range(1, 128)).hex()}' using utf8mb4)")
        text = session.value(f"select convert(_{charset} x'{high}' using utf8mb4)")
        if low is None or text is None or len(low) != 127 or len(text) != 128:
            continue
        table = {byte: letter for byte, letter in enumerate(low, 1) if chr(byte) != letter}
        table |= {byte: letter for byte, letter in enumerate(text, 128) if chr(byte) != letter}
        if any(byte < 128 for byte in table):
            continue  # its plain letters aren't ASCII: rows are read by their key
        letters[charset] = table
    return ServerCharsets(numbers, letters)


def executed(session: Session, server: MysqlServer) -> sets.Gtids:
    """All transactions that the server's log has had. pymysql.Error."""
    return sets.gtids_of(session.value(server.read_position) or "", is_mariadb=server.is_mariadb)
