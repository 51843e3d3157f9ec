"""What `sorbus doctor` says of a MySQL source."""

from __future__ import annotations

import time
from collections.abc import Iterator

from sorbus.connector import BoundSystem
from sorbus.diagnosis import Diagnosis, clock
from sorbus.mysql.connection import session_for
from sorbus.mysql.discovery import connection_of
from sorbus.producers.mysql.server import read_server, retention_days, server_faults, unsafe_settings

_SHORT = 2.0
"""Days of log below which a weekend's outage loses the position."""


def diagnose_source(system: BoundSystem) -> Iterator[Diagnosis]:
    """Its version, clock, log and rights. TransientError, AuthError."""
    where = system.name
    with session_for(connection_of(system), "doctor", f"examining {where}") as session:
        server = read_server(session)
        before = time.time()
        theirs = float(session.value("select unix_timestamp(now(6))") or 0)
        yield Diagnosis(where, "version", ("MariaDB " if server.is_mariadb else "MySQL ") + server.variables["version"])
        yield clock(where, theirs, before, time.time())
        faults = server_faults(session, server)
        for fault in faults:
            yield Diagnosis(where, "binary log", fault.what, "problem", fault.fix)
        if not faults:
            yield Diagnosis(where, "binary log", "it logs whole rows with their columns' names")
        if unsafe := unsafe_settings(server):
            yield Diagnosis(
                where, "crashes", f"{' and '.join(unsafe)}: a crash may take back what was published, or lose it from"
                " the log alone, and nothing says so", "warning",
                "run `SET GLOBAL sync_binlog = 1, GLOBAL innodb_flush_log_at_trx_commit = 1;`, and write both in the"
                " server's configuration file; until then, run `sorbus backfill TYPE` after a crash of it",
            )  # fmt: skip
        days = retention_days(server)
        if days is not None and days < _SHORT:
            yield Diagnosis(
                where, "log retention", f"the server keeps its log for {days:.1f} days", "warning",
                "run `SET GLOBAL binlog_expire_logs_seconds = 604800;`: after a longer outage everything is read again",
            )  # fmt: skip
        else:
            yield Diagnosis(where, "log retention", "for ever" if days is None else f"{days:.0f} days")
