"""Whatever comes in whatever order, each event is once on its topic: changes, snapshots, data types that join or leave,
records that can't be published, stops, faults, and deaths at any step of publishing.

Tape itself fails on a doubled event or a version that goes back; at the end the topics are what SQL says.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import psycopg
import pytest

from sorbus.bus.kafka import idempotent_producer
from sorbus.bus.names import Names
from sorbus.bus.requests import backfill_message, reread_message
from sorbus.bus.sending import send
from sorbus.producers import event_writer, own_topics
from sorbus.schema import AvroType
from sorbus.snapshot_control import SnapshotAction
from tests.producers.fate import Died, Fate, end_transaction, fated
from tests.producers.shop import Record, Running, Shop
from tests.topics import lose_first_half

MakeShop = Callable[..., Shop]
FIELDS: list[AvroType] = [{"name": "name", "type": "string"}, {"name": "size", "type": "int"}]
TABLES = ("items", "things", "orders")
SHEET = [(f"{table}.size", f"{table[:-1]}.size", "value | integer") for table in TABLES]


class Walk:
    """Random acts of people, programs and machines."""

    def __init__(self, shop: Shop, seed: int, fate: Fate) -> None:
        self.shop, self.fate = shop, fate
        self.chance = random.Random(seed)
        self.mapped = ["items"]
        self.rule = ""
        self.done: list[str] = []
        self.running: Running | None = None
        self.open: psycopg.Connection | None = None
        self.system: dict[str, object] = {"on_lost_slot": "resnapshot"}

    def describe(self) -> None:
        data_types = {name[:-1]: (FIELDS, {"table": name}) for name in self.mapped}
        self.shop.describe(data_types, self.system, self._sheet())
        self.shop.apply()

    def _sheet(self) -> list[tuple[str, str, str]]:
        rows = [(f"{table}.name", f"{table[:-1]}.name", self.rule) for table in self.mapped]
        return rows + [(f"{table}.size", f"{table[:-1]}.size", "value | integer") for table in self.mapped]

    def act(self) -> None:
        acts = self.acts()
        act = self.chance.choices([each for _, each in acts], [weight for weight, _ in acts])[0]
        self.done.append(act())

    def acts(self) -> list[tuple[float, Callable[[], str]]]:
        """How often each comes, beside the others."""
        return [
            (10, self.change),
            (4, self.transaction),
            (1, self.large),
            (1, self.rolled_back),
            (1, self.hold),
            (0.5, self.truncate),
            (1, self.ask),
            (5, self.live),
            (2, self.remap),
            (1, self.new_rule),
            (0.7, self.move),
            (1, self.ask_for_records),
            (1, self.rewrite),
            (0.5, self.unpublish),
            (0.7, self.lose_slot),
            (0.5, self.lose_messages),
        ]

    def change(self) -> str:
        count = self.chance.choice((1, 1, 2, 5, 30))
        self.shop.execute(*(self._statement() for _ in range(count)))
        return f"{count} changes"

    def transaction(self) -> str:
        count = self.chance.choice((2, 5, 30))
        self.shop.execute(f"begin; {'; '.join(self._statement() for _ in range(count))}; commit")
        return f"a transaction of {count} changes"

    def large(self) -> str:
        table = self.chance.choice(TABLES)
        self.shop.execute(
            f"insert into {table} select n, 'many', '1' from generate_series(1000, 1700) n on conflict (id) do update"
            f" set name = {table}.name || '.'"
        )
        return f"many rows of {table}"

    def rolled_back(self) -> str:
        self.shop.execute(f"begin; {self._statement()}; rollback")
        return "a transaction rolled back"

    def hold(self) -> str:
        """A transaction stays open: no snapshot begins meanwhile."""
        if self.open is not None:
            self.open.commit()
            self.open.close()
            self.open = None
            return "the open transaction ended"
        self.open = psycopg.connect(self.shop.dsn)
        self.open.execute("insert into held default values")
        return "a transaction left open"

    def truncate(self) -> str:
        table = self.chance.choice(TABLES)
        self.shop.execute(f"truncate {table}")
        return f"{table} truncated"

    def ask(self) -> str:
        table = self.chance.choice(self.mapped)
        action: SnapshotAction = self.chance.choice(("start", "start", "cancel"))
        message = backfill_message(Names(self.shop.prefix), self.shop.owner, table[:-1], action, "")
        send(idempotent_producer(self.shop.settings, "test"), [message], "asking")
        return f"snapshot of {table}: {action}"

    def live(self) -> str:
        """The producer lives, until it is stopped or meets its fate."""
        self.stop()
        what = self.chance.choice(("", "died", "died", "died", "failed"))
        self.fate.plan(self.chance.choice((5, 20, 60, 200)) + self.chance.randrange(20), what)
        self.running = self.shop.start()
        return f"a producer starts ({what or 'well'} after {self.fate.left} steps)"

    def remap(self) -> str:
        """Data types join and leave."""
        self.stop()
        self.mapped = self.chance.sample(TABLES, self.chance.choice((1, 2, 3)))
        self.describe()
        return f"mapped: {self.mapped}"

    def new_rule(self) -> str:
        """All records are to be published again."""
        self.stop()
        self.rule = self.chance.choice(("", "value | upper"))
        self.describe()
        return f"rule: {self.rule}"

    def move(self) -> str:
        """Another system is the system of record from now on, with the same records."""
        self.stop()
        end_transaction(self.shop.settings, self.shop.names, self.shop.owner)
        self.shop.owner = "house" if self.shop.owner == "shop" else "shop"
        self.describe()
        return f"all is {self.shop.owner}'s"

    def ask_for_records(self) -> str:
        """As people do who requeue dead letters."""
        table = self.chance.choice(self.mapped)
        ids = [str(self.chance.randrange(1, 40)).encode() for _ in range(5)]
        messages = [reread_message(Names(self.shop.prefix), self.shop.owner, table[:-1], id) for id in ids]
        send(idempotent_producer(self.shop.settings, "test"), messages, "asking")
        return f"{table} asked for: {ids}"

    def rewrite(self) -> str:
        """What the stream says nothing of."""
        table = self.chance.choice(TABLES)
        self.shop.execute(
            self.chance.choice(
                (
                    f"alter table {table} alter name type varchar(200) using name || '!'",
                    f"alter table {table} alter name type text",
                    f"alter table {table} add column if not exists more text default 'x'",
                    f"alter table {table} drop column if exists more",
                )
            )
        )
        return f"{table} altered"

    def unpublish(self) -> str:
        """A person takes a table out of the publication, and puts it back."""
        table = self.chance.choice(self.mapped)
        self.shop.execute(f"alter publication {self.shop.slot} drop table {table}")
        self.change()
        self.shop.execute(f"alter publication {self.shop.slot} add table {table}")
        return f"{table} was not published for a while"

    def lose_slot(self) -> str:
        self.stop()
        self.shop.drop_slot()
        return "the slot is gone"

    def lose_messages(self) -> str:
        """Somebody removes the first half of a topic."""
        topic = self.shop.names.topic(self.chance.choice(self.mapped)[:-1])
        lose_first_half(self.shop.settings, topic)
        return f"the first half of {topic} is gone"

    def stop(self) -> None:
        """Its thread is over, however it ended."""
        running, self.running = self.running, None
        if running is None:
            return
        if self.chance.random() < 0.5:
            running.thread.join(self.chance.random())  # it goes on for a moment, or to its fate
        running.stop.set()
        running.thread.join(60)
        assert not running.thread.is_alive(), "it doesn't stop"
        self.done.append(self.fate.said or "stopped")
        self.fate.plan(0, "")
        if running.error is not None and not isinstance(running.error, Died):
            raise running.error

    def end(self) -> None:
        """All is mapped, and goes well."""
        self.stop()
        if self.open is not None:
            self.hold()
        self.mapped, self.rule = list(TABLES), ""
        self.describe()

    def expected(self, table: str) -> dict[str, Record]:
        """Record's id -> what its topic has to show."""
        rows = self.shop.rows(f"select id::text, name, size::int from {table} where size <> 'none'")
        return {str(id): {"name": name, "size": size} for id, name, size in rows}

    def refused(self, table: str) -> set[str]:
        """The ids of records that can't be published."""
        return {str(id) for (id,) in self.shop.rows(f"select id from {table} where size = 'none'")}

    def _statement(self) -> str:
        table, id, other = self.chance.choice(TABLES), self.chance.randrange(1, 40), self.chance.randrange(1, 40)
        what = self.chance.random()
        if what < 0.5:
            size = self.chance.choice((str(self.chance.randrange(100)), *["1"] * 9, "none"))
            return (
                f"insert into {table} values ({id}, 'n{self.chance.randrange(10**6)}', '{size}')"
                " on conflict (id) do update set name = excluded.name, size = excluded.size"
            )
        if what < 0.7:
            return f"update {table} set name = name || '.' where id between {id} and {id + 3}"
        if what < 0.9:
            return f"delete from {table} where id = {id}"
        return f"delete from {table} where id = {other}; update {table} set id = {other} where id = {id}"


def agree(walk: Walk, table: str) -> None:
    """The topic shows what SQL says, and each record that can't be published has an open dead letter, no other has."""

    shop, data_type = walk.shop, table[:-1]
    tape, letters = shop.tape(data_type), shop.dead_letters(data_type)

    def differences() -> tuple[object, ...]:
        letters.read(0.05)
        wrong, live, wanted = walk.refused(table), tape.live(), walk.expected(table)
        for id in wrong:  # the last good state stays, if there was one
            live.pop(id, None)
        told = {each.record_id.decode() for each in letters.letters.values() if each.record_id is not None}
        other = {
            id: (live.get(id), wanted.get(id)) for id in live.keys() | wanted.keys() if live.get(id) != wanted.get(id)
        }
        return other, told ^ wrong

    tape.wait(lambda: not tape.read() and not any(differences()), lambda: f"{differences()}\n{walk.done}", 60)


@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 43))])
def test_in_any_order_each_event_is_once_on_its_topic(
    make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    shop = make_shop(
        "create table held (id int generated always as identity);"
        + "".join(f"create table {name} (id int primary key, name text, size text);" for name in TABLES)
    )
    chance = random.Random(seed)
    monkeypatch.setattr(own_topics, "_COMPARE_EVERY", chance.choice((0.2, 1.0, 10.0)))
    monkeypatch.setattr(event_writer, "_STORE_AFTER", chance.choice((0.0, 0.3, 1.0, 1.0)))
    monkeypatch.setattr(event_writer, "_QUIET", chance.choice((0.05, 1.0)))
    fate = Fate(chance)
    with fated(fate, monkeypatch):
        walk = Walk(shop, seed, fate)
        walk.describe()
        try:
            for _ in range(50):
                walk.act()
            walk.end()
            with shop.producing():
                for table in TABLES:
                    agree(walk, table)
        finally:
            if walk.open is not None:
                walk.open.close()
