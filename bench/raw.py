"""PostgreSQL's own limits on the same rows: no capture by its stream, and no sink by COPY and merge, can pass them.

Capture: `pg_recvlogical` receives an update of all customers and throws it away. Sink: the same rows, as COPY's text in
memory, are copied to a stage and merged, in batches of the size that Sorbus delivers.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import psycopg

from bench.figures import OWN, Course, Notebook
from bench.processes import Child, cpu_seconds
from bench.servers import SQL, Servers
from bench.watch import TooSlowError, checksum, update_all
from sorbus.ops.embedded.packages import fetch

_BATCH = 5_000
_MERGE = """insert into raw select * from stage on conflict (id) do update
set name = excluded.name, email = excluded.email, phone = excluded.phone, address = excluded.address,
credit = excluded.credit, updated_at = excluded.updated_at"""


def run(servers: Servers, folder: Path, course: Course, book: Notebook) -> None:
    """One round on freshly wiped servers; the first update of each stage warms up."""
    servers.wipe(course.rows)
    with servers.connect("src") as source, servers.connect("dst") as target:
        source.execute("create publication raw for table customers")
        source.execute("select pg_create_logical_replication_slot('raw', 'pgoutput')")
        receiver = _receiver(servers, folder)
        try:
            for number in range(course.updates + 1):
                source.execute("vacuum customers")
                source.execute("checkpoint")
                used = cpu_seconds(receiver.pid)
                committed, _ = update_all(source, course.rows)
                sent = _until_sent(source, receiver, course.limit)
                stage = "capture" if number else "warm-up"
                book.note(stage, course.rows / (sent - committed), "rows/s")
                book.note(f"cpu {stage}, {OWN}", (cpu_seconds(receiver.pid) - used) / course.rows * 1e6, "us/row")
        finally:
            receiver.stop()
        table = (SQL / "source.sql").read_text().partition("\n\n")[0]
        target.execute(table.replace("create table customers", "create table raw"))
        target.execute("create temp table stage (like raw)")
        for number in range(course.updates + 1):
            update_all(source, course.rows)
            batches = _copied(source)
            target.execute("vacuum raw")
            target.execute("checkpoint")
            used, began = time.process_time(), time.monotonic()
            _merge(target, batches)
            stage = "sink" if number else "warm-up"
            book.note(stage, course.rows / (time.monotonic() - began), "rows/s")
            book.note(f"cpu {stage}, {OWN}", (time.process_time() - used) / course.rows * 1e6, "us/row")
        book.note("target equals source", checksum(source, "customers") == checksum(target, "raw"), "yes=1")


def _receiver(servers: Servers, folder: Path) -> Child:
    """Receives by the slot from now on, until it is stopped."""
    options = ["proto_version=1", "publication_names=raw", "messages=true"]
    command = [
        str(fetch().postgres / "pg_recvlogical"),
        "-d",
        servers.dsn("src"),
        "--slot=raw",
        "--start",
        "-f/dev/null",
    ]
    return Child.start("pg_recvlogical", [*command, *(f"--option={each}" for each in options)], folder)


def _until_sent(source: psycopg.Connection, receiver: Child, limit: float) -> float:
    """When all that has been committed was sent; monotonic seconds."""
    sent = (
        "select sent_lsn >= %s::pg_lsn from pg_stat_replication join pg_replication_slots on pid = active_pid"
        " where slot_name = 'raw'"
    )
    end, (lsn,) = time.monotonic() + limit, source.execute("select pg_current_wal_lsn()").fetchone() or ("",)
    while source.execute(sent, (lsn,)).fetchone() != (True,):
        receiver.check()
        if time.monotonic() > end:
            raise TooSlowError(f"pg_recvlogical hasn't received all within {limit:.0f} s")
        time.sleep(0.002)
    return time.monotonic()


def _copied(source: psycopg.Connection) -> Sequence[bytes]:
    """All customers as COPY's text, a batch each."""
    with source.cursor().copy("copy customers to stdout") as copy:
        lines = [bytes(line) for line in copy]
    return [b"".join(lines[at : at + _BATCH]) for at in range(0, len(lines), _BATCH)]


def _merge(target: psycopg.Connection, batches: Sequence[bytes]) -> None:
    for batch in batches:
        with target.transaction(), target.cursor() as cursor:
            with cursor.copy("copy stage from stdin") as copy:
                copy.write(batch)
            cursor.execute(_MERGE)
            cursor.execute("truncate stage")
