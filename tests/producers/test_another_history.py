"""A source that isn't what it was: restored, failed over, its log or slot replaced. Nothing is skipped.

What is the same server after all goes on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from sorbus.errors import LostPosition
from sorbus.ops.embedded import Addresses
from sorbus.ops.embedded.packages import fetch
from sorbus.ops.embedded.ports import Ports
from sorbus.ops.embedded.postgres import Postgres
from sorbus.producers.postgres.plan import plan_source
from sorbus.schema import AvroType
from sorbus.settings import Settings
from tests import postgres_version
from tests.producers.shop import Shop, Tape

ITEM: list[AvroType] = [{"name": "v", "type": ["null", "string"]}]


class OwnServer:
    """A PostgreSQL of this test alone, whose data folder can be copied, put back and started as another server."""

    def __init__(self, folder: Path) -> None:
        named = postgres_version.named()
        self.packages = fetch() if named is None else replace(fetch(), postgres=named)
        self.folder = folder
        self.port = Ports.free().database
        self._server = Postgres(folder, self.packages, port=self.port, fast=True)
        self.start()

    @property
    def data(self) -> Path:
        return self.folder / "postgres"

    def start(self) -> None:
        self._server.start()
        self._server.wait()

    def stop(self) -> None:
        self._server.stop()

    def save(self) -> Path:
        """A cold copy of it, as a snapshot of its disk would be."""
        self.stop()
        copy = self.folder / "saved"
        shutil.copytree(self.data, copy, symlinks=True)
        self.start()
        return copy

    def put_back(self, copy: Path) -> None:
        """The server as it was at `copy`."""
        self.stop()
        shutil.rmtree(self.data)
        copy.rename(self.data)
        self.start()

    def promote(self) -> None:
        """Starts as a standby that has all that its data folder has, and is promoted: a new timeline."""
        self.stop()
        (self.data / "standby.signal").touch()
        self._server.start()
        self._server.wait(60)

    def program(self, name: str, *arguments: str) -> None:
        """One of the server's programs on its data folder, as the user that owns it."""
        prefix = self._server._other_user() if os.geteuid() == 0 else []
        command = [*prefix, str(self.packages.postgres / name), *arguments, "-D", str(self.data)]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder)

    def has(self, name: str) -> bool:
        return (self.packages.postgres / name).exists()


@pytest.fixture(scope="session")
def initialized() -> Iterator[Path]:
    """A data folder as initdb leaves it: it takes two seconds to make and a tenth of one to copy."""
    with own_folder() as folder:
        OwnServer(folder).stop()
        yield folder / "postgres"


@contextmanager
def own_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="sorbus-history-"))
    folder.chmod(0o711)  # it may run as another user, who must be able to enter
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def server(initialized: Path) -> Iterator[OwnServer]:
    with own_folder() as folder:
        shutil.copytree(initialized, folder / "postgres", symlinks=True)
        yield from serving(folder)


def serving(folder: Path) -> Iterator[OwnServer]:
    found = OwnServer(folder)
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture
def shop(server: OwnServer, stack: Addresses, unique: str, tmp_path: Path) -> Iterator[Shop]:
    """Ten rows, published."""
    made = Shop(tmp_path, Postgres.dsn(server.port, "sorbus"), f"{unique}.", Settings(kafka=stack.kafka, registry=""))
    made.execute(
        "create table items (id int primary key, v text)",
        "insert into items select n, 'v' || n from generate_series(1, 10) n",
    )
    describe(made, "stop")
    made.apply()
    with made.producing():
        tape = made.tape("item")
        tape.wait(is_equal(made, tape), lambda: difference(made, tape))
    yield made
    for each in made._tapes:
        each.close()


def describe(shop: Shop, policy: str) -> None:
    shop.describe({"item": (ITEM, {"table": "items"})}, {"on_lost_slot": policy})


def rows(shop: Shop) -> dict[str, object]:
    return {str(id): {"v": v} for id, v in shop.rows("select id, v from items")}


def is_equal(shop: Shop, tape: Tape) -> Callable[[], bool]:
    return lambda: not tape.read() and tape.live() == rows(shop)


def difference(shop: Shop, tape: Tape) -> str:
    have, wanted = tape.live(), rows(shop)
    return f"{len(have)} records for {len(wanted)} rows; not there {sorted(wanted.keys() - have.keys())[:5]}"


def publish_more(shop: Shop) -> None:
    """Changes that a copy of before hasn't got."""
    tape = shop.tape("item")
    with shop.producing():
        shop.execute(
            "insert into items select n, 'later' from generate_series(11, 200) n",
            "update items set v = v || '.' where id < 9",
        )
        tape.wait(is_equal(shop, tape), lambda: difference(shop, tape))


def write_anew(shop: Shop, *, grown: bool) -> None:
    """What is written after the server went back; `grown`: until its log is longer than it was."""
    if grown:
        shop.execute("create table noise as select repeat('x', 500) from generate_series(1, 40000)", "drop table noise")
    shop.execute("insert into items values (201, 'new'), (202, 'new')", "update items set v = 'restored' where id = 1")
    shop.execute("set synchronous_commit = on; update items set v = 'last' where id = 2")


def lost_then_copied(shop: Shop, *words: str) -> None:
    """It stops and says why; where the map says so it is copied again, and equal to the table."""
    error = shop.start().ended()
    assert isinstance(error, LostPosition), error
    for word in (*words, "on_lost_slot: resnapshot", "Don't make a slot by hand"):
        assert word in str(error)
    describe(shop, "resnapshot")
    tape = shop.tape("item")
    with shop.producing():
        tape.wait(is_equal(shop, tape), lambda: difference(shop, tape))
        shop.execute("insert into items values (300, 'after')")
        tape.wait(is_equal(shop, tape), lambda: difference(shop, tape))


@pytest.mark.parametrize("grown", [False, True])
def test_a_source_restored_from_a_cold_snapshot_is_lost(server: OwnServer, shop: Shop, grown: bool) -> None:
    saved = server.save()
    publish_more(shop)
    server.put_back(saved)
    write_anew(shop, grown=grown)
    lost_then_copied(shop, "restored to an earlier state")


@pytest.mark.slow
@pytest.mark.parametrize("grown", [False, True])
def test_a_running_producer_notices_that_its_source_was_restored(server: OwnServer, shop: Shop, grown: bool) -> None:
    saved = server.save()
    publish_more(shop)
    running = shop.start()
    tape = shop.tape("item")
    shop.execute("update items set v = 'running' where id = 3")
    tape.wait(is_equal(shop, tape), lambda: difference(shop, tape))
    server.put_back(saved)
    write_anew(shop, grown=grown)
    assert isinstance(running.ended(90), LostPosition)


@pytest.mark.parametrize(
    ("by_hand", "grown"),
    [
        (False, False),
        (True, True),
        pytest.param(False, True, marks=pytest.mark.slow),
        pytest.param(True, False, marks=pytest.mark.slow),
    ],
)
def test_a_promoted_standby_that_lagged_is_lost(server: OwnServer, shop: Shop, by_hand: bool, grown: bool) -> None:
    saved = server.save()
    publish_more(shop)
    server.put_back(saved)
    if by_hand:
        shop.drop_slot()
    server.promote()
    shop.execute("select pg_promote()")
    if by_hand:
        shop.execute(f"select pg_create_logical_replication_slot('{shop.slot}', 'pgoutput')")
    write_anew(shop, grown=grown)
    lost_then_copied(shop, "promoted")


def test_a_failover_that_lost_nothing_goes_on_and_copies_nothing(server: OwnServer, shop: Shop) -> None:
    publish_more(shop)
    shop.execute("insert into items values (201, 'not published yet')")
    server.promote()
    goes_on_as_a_standby = shop.start()
    end = Deadline(40)
    while "standby" not in str(goes_on_as_a_standby.health.waiting()):
        assert not end.is_over, f"it doesn't say that the server is a standby: {goes_on_as_a_standby.health.waiting()}"
        assert not goes_on_as_a_standby.stop.wait(0.05)
    shop.execute("select pg_promote()")
    shop.execute("insert into items values (202, 'new')")
    tape = shop.tape("item")
    tape.wait(is_equal(shop, tape), lambda: difference(shop, tape))
    goes_on_as_a_standby.stop.set()
    assert goes_on_as_a_standby.ended() is None
    assert len(tape.events) == 10 + 190 + 8 + 2


def test_a_crash_goes_on_and_copies_nothing(server: OwnServer, shop: Shop) -> None:
    publish_more(shop)
    shop.execute("set synchronous_commit = on; insert into items values (201, 'not published yet')")
    server.program("pg_ctl", "stop", "-m", "immediate")
    server.stop()
    server.start()
    tape = shop.tape("item")
    with shop.producing():
        shop.execute("insert into items values (202, 'new')")
        tape.wait(is_equal(shop, tape), lambda: difference(shop, tape))
    assert len(tape.events) == 10 + 190 + 8 + 2


@pytest.mark.slow
def test_a_log_that_was_reset_is_lost(server: OwnServer, shop: Shop) -> None:
    if not server.has("pg_resetwal"):
        pytest.skip("these programs lack pg_resetwal")
    shop.execute("set synchronous_commit = on; update items set v = 'unpublished' where id = 4")
    server.stop()
    server.program("pg_resetwal", "-f")
    server.start()
    write_anew(shop, grown=False)
    lost_then_copied(shop)


@pytest.mark.slow
def test_a_database_made_anew_under_its_name_is_lost(server: OwnServer, shop: Shop) -> None:
    with psycopg.connect(Postgres.dsn(server.port, "postgres"), autocommit=True) as admin:
        admin.execute("alter database sorbus rename to sorbus_before")
        admin.execute("create database sorbus")
    shop.execute(
        "create table items (id int primary key, v text)",
        "insert into items values (1, 'dumped')",
        f"create publication {shop.slot} for table items",
    )
    error = shop.start().ended()
    assert isinstance(error, LostPosition)
    assert "another one than before" in str(error)
    describe(shop, "resnapshot")
    error = shop.start().ended()
    assert isinstance(error, LostPosition)
    assert "another one than before" in str(error)
    accepted = str(error).partition('accept_source: "')[2].partition('"')[0]
    shop.describe({"item": (ITEM, {"table": "items"})}, {"accept_source": accepted})
    error = shop.start().ended()  # that slot is another database's: nothing of ours to drop
    assert isinstance(error, LostPosition)
    assert "belongs to the database sorbus_before" in str(error)
    assert shop.rows(f"select count(*) from pg_replication_slots where slot_name = '{shop.slot}'") == [(1,)]


FOREIGN = {
    "physical": ("select pg_create_physical_replication_slot('{slot}')", "is for physical replication"),
    "another plugin": (
        "select pg_create_logical_replication_slot('{slot}', 'test_decoding')",
        "the plugin test_decoding",
    ),
}


@pytest.mark.parametrize("policy", ["stop", "resnapshot"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_slot_of_somebody_else_is_neither_used_nor_dropped(
    server: OwnServer, shop: Shop, kind: str, policy: str
) -> None:
    statement, words = FOREIGN[kind]
    shop.drop_slot()
    try:
        shop.execute(statement.format(slot=shop.slot))
    except psycopg.errors.UndefinedFile:
        pytest.skip("these programs lack test_decoding")
    describe(shop, policy)
    error = shop.start().ended()
    assert isinstance(error, LostPosition)
    assert words in str(error)
    assert shop.rows(f"select count(*) from pg_replication_slots where slot_name = '{shop.slot}'") == [(1,)]
    assert any(
        words in step.what
        for step in plan_source(shop.loaded().system("shop", "producer"), shop.loaded().sources("shop"))
    )


def test_a_slot_made_again_by_hand_is_lost_wherever_it_stands(server: OwnServer, shop: Shop) -> None:
    publish_more(shop)
    shop.drop_slot()
    shop.execute(
        "update items set v = 'lost'",
        f"select pg_create_logical_replication_slot('{shop.slot}', 'pgoutput')",
    )
    lost_then_copied(shop, "made by hand")


def test_a_position_of_before_these_fields_is_taken_up(server: OwnServer, shop: Shop) -> None:
    positions = shop.positions()
    positions.wait(lambda: bool(positions.positions) and not positions.read(), "a position")
    old = dict(positions.positions[-1])
    for name in ("tables", "fresh", "timeline", "database", "commit", "confirmed"):
        del old[name]
    shop.execute("insert into items values (11, 'new')")
    loaded = shop.loaded()
    producer = loaded.producer("shop")(loaded.system("shop", "producer"), loaded.sources("shop"))
    producer.open(old)
    try:
        end = Deadline(30)
        while (batch := producer.read(1.0)) is None or not batch.changes:
            assert not end.is_over, "the new row doesn't come"
        assert batch.copied is None
        assert [change.id for change in batch.changes] == [b"11"]
    finally:
        producer.close()


class Deadline:
    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self._end
