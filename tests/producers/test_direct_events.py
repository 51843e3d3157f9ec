"""Events outside transactions: each once and in order after any crash, whoever else writes to their topics."""

from __future__ import annotations

import json
import logging
import random
import threading
from collections.abc import Callable, Sequence

import psycopg
import pytest

from sorbus.bus.kafka import all_partitions, bytes_of, direct_producer, read_to_end, topic_reader
from sorbus.bus.sending import Single, send
from sorbus.connector import Batch, Change, Position
from sorbus.event import open_frame
from sorbus.producers import own_topics, session
from sorbus.schema import AvroType
from tests.consumers.line import eventually
from tests.producers.shop import Record, Running, Shop

MakeShop = Callable[..., Shop]
ITEM: list[AvroType] = [{"name": "id", "type": "long"}, {"name": "name", "type": ["null", "string"]}]
BEHIND = "events behind the stored position"


@pytest.fixture
def shop(make_shop: MakeShop) -> Shop:
    shop = make_shop("create table items (id int primary key, name text); insert into items values (1, 'one')")
    shop.describe({"item": (ITEM, {"table": "items"})})
    shop.apply()
    return shop


@pytest.fixture
def looking_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_topics, "_COMPARE_EVERY", 0.3)


def source(shop: Shop) -> dict[str, Record | None]:
    return {str(id): {"id": id, "name": name} for id, name in shop.rows("select id, name from items")}


def newest(shop: Shop, topic: str) -> dict[bytes, tuple[int, bytes]]:
    """What compaction would leave: the last message of each key that has a value, as (version, value)."""
    consumer = topic_reader(shop.settings, "compacted")
    try:
        found = {}
        for message in read_to_end(consumer, all_partitions(consumer, topic)):
            if message.value() is not None:
                value = bytes_of(message.value())
                found[bytes_of(message.key())] = (open_frame(value).version, value)
        return found
    finally:
        consumer.close()


def write(shop: Shop, topic: str, partition: int, key: bytes, value: bytes) -> None:
    """As a predecessor would whose event arrives late, with an idempotent producer of its own."""
    producer = direct_producer(shop.settings, "predecessor", lambda *_: None)
    producer.produce(topic, value, key, partition)
    assert producer.flush(10) == 0


def partition_of(shop: Shop, topic: str, key: bytes) -> int:
    consumer = topic_reader(shop.settings, "place")
    try:
        return next(
            message.partition() or 0
            for message in read_to_end(consumer, all_partitions(consumer, topic))
            if message.key() == key
        )
    finally:
        consumer.close()


def test_single_changes_take_no_transaction_each(shop: Shop) -> None:
    tape, positions = shop.tape("item"), shop.positions()
    with shop.producing():
        tape.wait_for(source(shop))
        shop.execute(*(f"insert into items values ({n}, 'n')" for n in range(100, 400)))
        tape.wait_for(source(shop))
    positions.wait(lambda: positions.read() == 0, "the end")
    stored = [one for one in positions.positions if "sorbus.ends" in one]
    assert len(stored) < 100, "a position, and a transaction, for more than every third change"


def test_what_others_write_is_left_alone(shop: Shop, looking_often: None, caplog: pytest.LogCaptureFixture) -> None:
    """A message that is no event, or another system's, sets nothing in motion."""
    caplog.set_level(logging.WARNING)
    tape, topic = shop.tape("item"), shop.names.topic("item")
    with shop.producing() as running:
        tape.wait_for(source(shop))
        shop.execute("insert into items values (2, 'two')")
        tape.wait_for(source(shop))
        rounds = running.health.rounds
        write(shop, topic, 0, b"2", b"no event")
        eventually(lambda: "of others" in caplog.text or None, "the difference is told", 20)
        shop.execute("insert into items values (3, 'three')")
        eventually(lambda: b"3" in newest_ids(shop, topic) or None, "the next change is published", 20)
        assert running.health.rounds > rounds
    assert "published again" not in caplog.text
    assert "snapshotting" not in caplog.text


def newest_ids(shop: Shop, topic: str) -> set[bytes]:
    consumer = topic_reader(shop.settings, "ids")
    try:
        return {bytes_of(message.key()) for message in read_to_end(consumer, all_partitions(consumer, topic))}
    finally:
        consumer.close()


@pytest.mark.parametrize("is_running", [True, False], ids=["while it runs", "before it starts"])
def test_a_predecessor_s_late_event_does_not_stay_the_last(shop: Shop, looking_often: None, is_running: bool) -> None:
    """It is older than what it lies behind, and compaction would keep it: its record is published again."""
    tape, topic = shop.tape("item"), shop.names.topic("item")
    with shop.producing():
        tape.wait_for(source(shop))
        shop.execute("update items set name = 'older' where id = 1")
        tape.wait_for(source(shop))
        old_version, old = newest(shop, topic)[b"1"]
        shop.execute("update items set name = 'newer' where id = 1")
        tape.wait_for(source(shop))
        new_version, _ = newest(shop, topic)[b"1"]
        if is_running:
            write(shop, topic, partition_of(shop, topic, b"1"), b"1", old)
            eventually(lambda: newest(shop, topic)[b"1"][0] > new_version or None, "the record is published again", 30)
    if not is_running:
        write(shop, topic, partition_of(shop, topic, b"1"), b"1", old)
        assert newest(shop, topic)[b"1"][0] == old_version
        with shop.producing():
            eventually(lambda: newest(shop, topic)[b"1"][0] > new_version or None, "the record is published again", 30)
    assert b"newer" in newest(shop, topic)[b"1"][1]


def test_events_that_the_source_never_tells_are_deleted(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Published, then the source was restored to before it: the position alone doesn't show that."""
    caplog.set_level(logging.WARNING)
    tape, topic = shop.tape("item"), shop.names.topic("item")
    with shop.producing():
        tape.wait_for(source(shop))
        shop.execute("insert into items values (2, 'two')", "insert into items values (3, 'three')")
        tape.wait_for(source(shop))
    version, value = newest(shop, topic)[b"3"]
    later = value.replace(b"item/3@%d" % version, b"item/9@%d" % version)
    head = open_frame(value)
    at = value.index(b"3", len(head.prefix))
    later = later[:at] + b"9" + later[at + 1 :]
    later = with_version(later, version + 1)
    write(shop, topic, 0, b"9", later)
    with shop.producing():
        shop.execute("insert into items values (4, 'four')")
        eventually(lambda: "does not tell again" in caplog.text or None, "it is noticed", 30)
        eventually(lambda: open_frame(newest(shop, topic)[b"9"][1]).deleted or None, "it is deleted", 30)
        eventually(lambda: b"4" in newest(shop, topic) or None, "the source's own change is there", 30)


def with_version(frame: bytes, version: int) -> bytes:
    """The same event with another version, and the id that says so."""
    from sorbus.avro.decode import read_long
    from sorbus.avro.encode import encode_long

    head = open_frame(frame)
    size = len(encode_long(head.version))
    start = head.at - size
    assert read_long(frame, start)[0] == head.version
    changed = frame[:start] + encode_long(version) + frame[head.at :]
    return changed.replace(b"@%d" % head.version, b"@%d" % version)


@pytest.mark.parametrize("in_transactions_alone", [False, True])
def test_a_topic_that_lost_its_end_is_published_again(
    shop: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, in_transactions_alone: bool
) -> None:
    """As after an unclean leader election: Kafka has confirmed more than it has."""
    caplog.set_level(logging.WARNING)
    if in_transactions_alone:
        monkeypatch.setattr(session, "direct_events", lambda *_: None)
    tape, positions = shop.tape("item"), shop.positions()
    with shop.producing():
        tape.wait_for(source(shop))
        shop.execute("insert into items values (2, 'two')")
        tape.wait_for(source(shop))
    positions.wait(lambda: positions.read() == 0, "the end")
    position = positions.positions[-1]
    ends = position["sorbus.ends"]
    assert isinstance(ends, dict)
    position["sorbus.ends"] = {topic: [end + 2 for end in each] for topic, each in ends.items()}  # type: ignore[union-attr]
    told = Single(shop.names.positions, b"shop", json.dumps(position).encode())
    from sorbus.bus.kafka import idempotent_producer

    send(idempotent_producer(shop.settings, "test"), [told], "storing a position")
    before = len(tape.events)
    with shop.producing():
        tape.wait(lambda: len(tape.events) >= before + 2, "both records again")
    assert "has lost its last" in caplog.text


class OneBatch:
    """A producer that reads one batch: a record whose version no event can hold, and one that is well."""

    def __init__(self) -> None:
        self.left: list[Batch] = []

    def open(self, position: Position | None) -> None:
        assert position is None
        changes = [Change("item", b"1", 2**63, 0, b"\x02\x02\x02a"), Change("item", b"2", 5, 0, b"\x04\x02\x02b")]
        self.left = [Batch(changes, (), (), {"read": 1}, True)]

    def read(self, wait: float) -> Batch | None:
        return self.left.pop() if self.left else None

    def confirm(self, position: Position) -> None: ...

    def resnapshot(self, data_types: Sequence[str]) -> None: ...

    def lag(self) -> int | None: ...

    def close(self) -> None: ...


def test_the_letter_of_a_record_that_no_event_can_hold_stays_open(shop: Shop) -> None:
    tape, letters = shop.tape("item"), shop.dead_letters("item")
    running = Running(shop.loaded(), shop.settings, "shop")
    running.loop._make = OneBatch
    running.thread.start()
    try:
        tape.wait(lambda: len(tape.events) == 1, "the other record's event")
        letters.wait(lambda: letters.read() == 0 and bool(letters.letters), "an open letter")
    finally:
        running.stop.set()
        running.thread.join(30)
    assert running.error is None
    assert [letter.record_id for letter in letters.letters.values()] == [b"1"]


@pytest.mark.parametrize("kills", [3, pytest.param(25, marks=pytest.mark.slow)])
def test_kills_between_single_changes_lose_and_double_nothing(shop: Shop, kills: int) -> None:
    tape = shop.tape("item")
    chance, stop = random.Random(7), threading.Event()

    def change() -> None:
        with psycopg.connect(shop.dsn, autocommit=True) as connection:
            while not stop.wait(0.002):
                id = chance.randrange(1, 60)
                if chance.random() < 0.3:
                    connection.execute("delete from items where id = %s", (id,))
                else:
                    connection.execute(
                        "insert into items values (%s, %s) on conflict (id) do update set name = excluded.name",
                        (id, f"n{chance.random()}"),
                    )
                if chance.random() < 0.003:  # and now and then more than goes without a transaction
                    connection.execute("update items set name = name || '.'")
                    connection.execute(
                        "insert into items select n, 'm' from generate_series(100, 900) n on conflict do nothing"
                    )
                    connection.execute("delete from items where id >= 100")

    writer = threading.Thread(target=change)
    writer.start()
    try:
        done = 0
        while done < kills or (done < 4 * kills and BEHIND not in shop.log.read_text()):
            done += 1
            left, known = chance.randrange(3, 20), len(tape.events)

            def is_time() -> bool:
                """After so many reads that found few events: the stream is being followed then."""
                nonlocal left, known
                new, known = len(tape.events) - known, len(tape.events)
                left -= 0 < new < 100
                return left <= 0

            with shop.process() as process:
                tape.wait(is_time, lambda: f"more of it; the process says:\n{shop.log.read_text()[-2000:]}", 90)
                assert process.poll() is None, shop.log.read_text()[-2000:]
    finally:
        stop.set()
        writer.join(30)
    with shop.producing():
        tape.wait_for(source(shop), 120)
    # Tape itself fails on a doubled event id or on a version that goes back.
    log = shop.log.read_text()
    assert BEHIND in log, "no kill came between an event and its position"
    assert "does not tell again" not in log
    assert "of others" not in log
    assert "snapshotting" not in log
