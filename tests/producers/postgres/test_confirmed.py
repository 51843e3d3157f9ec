"""What a slot was told: a start that compares it with the stored position finds no loss where there is none."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from sorbus.connector import Batch, Position
from sorbus.postgres.connection import Connection, PostgresConnection
from sorbus.producers.postgres import producer
from sorbus.producers.postgres.producer import PostgresProducer
from sorbus.producers.postgres.slot import connect_replication
from sorbus.schema import AvroType
from tests.consumers.line import eventually
from tests.producers.postgres.live import Live
from tests.producers.shop import Shop

MakeShop = Callable[..., Shop]
TEXT: list[AvroType] = [{"name": "v", "type": "string"}]


@pytest.fixture
def shop(make_shop: MakeShop) -> Shop:
    shop = make_shop("create table items (id int primary key, v text); insert into items values (1, 'one')")
    shop.describe({"item": (TEXT, {"table": "items"})})
    return shop


class Held:
    """A server process that sends changes and doesn't get to what it is told of them."""

    def __init__(self, shop: Shop) -> None:
        self._shop, self.pid = shop, 0

    def hold(self) -> None:
        ((self.pid,),) = self._shop.rows(f"select active_pid from pg_replication_slots where slot_name = '{self.slot}'")
        os.kill(self.pid, signal.SIGSTOP)

    def let_go(self) -> None:
        """It goes on, and leaves the slot with what it was told."""
        if not self.pid:
            return
        os.kill(self.pid, signal.SIGCONT)
        query = f"select 1 from pg_stat_activity where pid = {self.pid}"
        eventually(lambda: not self._shop.rows(query) or None, "the server process ends")
        self.pid = 0

    @property
    def slot(self) -> str:
        return self._shop.slot


@pytest.fixture
def held(shop: Shop) -> Iterator[Held]:
    found = Held(shop)
    yield found
    if found.pid:
        os.kill(found.pid, signal.SIGCONT)


def test_a_slot_that_its_last_process_still_moves_has_lost_nothing(
    shop: Shop, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was confirmed is noted by the old process after the new session looked, and before it streams."""
    live = Live(shop)
    live.wait(lambda: "1" in live.records("item"), lambda: live.records("item"))
    shop.execute("insert into items values (2, 'two')")
    confirm = PostgresProducer.confirm

    def confirm_in_vain(self: PostgresProducer, position: Position) -> None:
        if "2" in live.records("item"):
            held.hold()
        confirm(self, position)

    with monkeypatch.context() as patched:
        patched.setattr(PostgresProducer, "confirm", confirm_in_vain)
        live.wait(lambda: held.pid != 0, lambda: live.records("item"))
    live.close()
    shop.execute("insert into items values (3, 'three')")

    def connect(connection: PostgresConnection, name: str) -> Connection:
        held.let_go()
        return connect_replication(connection, name)

    monkeypatch.setattr(producer, "connect_replication", connect)
    live.wait(lambda: "3" in live.records("item"), lambda: live.records("item"))
    assert not held.pid
    live.close()


def test_nothing_is_confirmed_while_a_batch_waits_that_was_read_before(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its position says what was confirmed by then; a slot at a place that it doesn't know of is moved by others."""
    read, confirm = PostgresProducer.read, PostgresProducer.confirm
    last: list[Position] = []
    confirmed: list[bool] = []
    swept: list[int] = []

    def noting_read(self: PostgresProducer, wait: float) -> Batch | None:
        batch = read(self, wait)
        if batch is not None:
            last[:] = [batch.position]
            swept.extend([len(confirmed)] if batch.sweeps else [])
        return batch

    def noting_confirm(self: PostgresProducer, position: Position) -> None:
        confirmed.append(last == [position])
        confirm(self, position)

    monkeypatch.setattr(PostgresProducer, "read", noting_read)
    monkeypatch.setattr(PostgresProducer, "confirm", noting_confirm)
    shop.execute("insert into items select n, 'v' from generate_series(2, 20) n")
    shop.apply()
    tape = shop.tape("item")
    with shop.producing():
        tape.wait(lambda: "20" in tape.live(), "the first snapshot")
    shop.execute("insert into items values (21, 'more')", "truncate items", "insert into items values (1, 'again')")
    with shop.producing():
        tape.wait(lambda: tape.live() == {"1": {"v": "again"}}, "a snapshot after the truncation")
    assert swept
    assert all(confirmed), confirmed
