"""Events behind the stored position are told again before all else, and stay recognizable until they have been."""

from __future__ import annotations

import logging
from collections.abc import Callable

import psycopg
import pytest

from sorbus.bus import kafka
from sorbus.bus.publisher import Publisher
from sorbus.producers import event_writer, own_topics, session
from sorbus.producers.event_writer import EventWriter
from sorbus.producers.postgres import collect, stream_reader
from tests.consumers.line import eventually
from tests.producers.shop import Shop, Tape
from tests.producers.test_direct_events import BEHIND, ITEM, newest, partition_of, source, with_version, write

MakeShop = Callable[..., Shop]


class _Killed(BaseException):
    pass


@pytest.fixture
def shop(make_shop: MakeShop) -> Shop:
    shop = make_shop(
        "create table items (id int primary key, name text);"
        " insert into items select n, 'n' from generate_series(1, 20) n"
    )
    shop.describe({"item": (ITEM, {"table": "items"})})
    shop.apply()
    return shop


def leave_behind(shop: Shop, tape: Tape, *statements: str) -> None:
    """Runs a producer that dies after it has published these changes, before it has stored their position."""
    due = EventWriter.commit_if_due
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EventWriter, "time_left", lambda _: 0.1)
        patch.setattr(own_topics, "_COMPARE_EVERY", 1000.0)
        patch.setattr(stream_reader, "_IDLE_STORE", 1000.0)

        def in_transactions(writer: EventWriter, *, at_once: bool) -> None:
            if writer._publisher.open_since is not None:
                due(writer, at_once=at_once)

        patch.setattr(EventWriter, "commit_if_due", in_transactions)
        running = shop.start()
        tape.wait_for(source(shop))
        shop.execute("insert into items values (90, 'told by the stream')")
        tape.wait_for(source(shop))
        shop.execute(statements[0])
        tape.wait_for(source(shop))
        shop.execute(*statements[1:])
        tape.wait_for(source(shop))
        kill_at_commit(patch, 1)
        running.stop.set()
        assert isinstance(running.ended(), _Killed)


def kill_at_commit(patch: pytest.MonkeyPatch, number: int) -> None:
    """The producer dies instead of storing its position for the time of this number."""
    commit, left = EventWriter.commit, number

    def counted(writer: EventWriter) -> None:
        nonlocal left
        if writer._due_at is not None:
            left -= 1
            if left <= 0:
                raise _Killed
        commit(writer)

    patch.setattr(EventWriter, "commit", counted)


def changes(first: int, count: int) -> list[str]:
    return [f"insert into items values ({n}, 'n')" for n in range(first, first + count)]


def test_a_position_stored_on_the_way_leaves_the_rest_recognizable(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """It is of the first change that was told again: what follows that change is still behind it."""
    caplog.set_level(logging.INFO)
    tape = shop.tape("item")
    leave_behind(shop, tape, *changes(100, 20))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_writer, "_STORE_AFTER", 0.0)
        kill_at_commit(patch, 3)
        assert isinstance(shop.start().ended(), _Killed)
    shop.execute(*changes(200, 1))
    with shop.producing():
        tape.wait_for(source(shop))
    assert caplog.text.count(BEHIND) == 2
    assert "snapshotting" not in caplog.text


def test_records_that_are_read_by_key_wait_for_what_is_told_again(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tape, topic = shop.tape("item"), shop.names.topic("item")
    with shop.producing():
        tape.wait_for(source(shop))
        version, old = newest(shop, topic)[b"1"]
        shop.execute("update items set name = 'newer' where id = 1")
        tape.wait_for(source(shop))
    leave_behind(shop, tape, *changes(100, 20))
    tape.close()
    write(shop, topic, partition_of(shop, topic, b"1"), b"1", old)
    with shop.producing():
        eventually(lambda: newest(shop, topic)[b"1"][0] > version or None, "the record is published again", 30)
    assert BEHIND in caplog.text
    assert "snapshotting" not in caplog.text


def test_the_end_of_a_transaction_that_was_cut_is_told_again(
    shop: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which keys its first part has taken is not known when only its end is read."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(collect, "MAX_CHANGES", 10)
    tape = shop.tape("item")
    leave_behind(
        shop,
        tape,
        f"begin; {'; '.join(changes(100, 10))}; delete from items where id = 1; {'; '.join(changes(200, 5))}; commit",
        *changes(300, 1),
    )
    shop.execute(*changes(400, 1))
    with shop.producing():
        tape.wait_for(source(shop))
    assert "snapshotting" not in caplog.text


@pytest.mark.parametrize("joins", [True, False], ids=["joined just now", "of an earlier release"])
def test_no_event_goes_directly_before_a_position_says_where_its_topic_ends(
    make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch, joins: bool
) -> None:
    """Or its successor wouldn't know what lies behind the position, and would publish it twice."""
    shop = make_shop("create table items (id int primary key, name text); create table more (id int primary key)")
    more = {"more": ([{"name": "id", "type": "long"}], {"table": "more"})}
    item = {"item": (ITEM, {"table": "items"})}
    shop.describe(more if joins else more | item)
    shop.apply()
    with monkeypatch.context() as patch:
        if not joins:
            patch.setattr(session, "direct_events", lambda *_: None)
        with shop.producing():
            shop.execute("insert into more values (1)")
            first = shop.tape("more")
            first.wait(lambda: len(first.live()) == 1, "the first record")
    shop.describe(more | item)
    shop.apply()
    tape = shop.tape("item")
    with psycopg.connect(shop.dsn) as other, monkeypatch.context() as patch:
        other.execute("insert into more values (2)")  # no snapshot begins until this has ended
        patch.setattr(own_topics, "_COMPARE_EVERY", 1000.0)
        kill_at_commit(patch, 1)
        running = shop.start()
        shop.execute("insert into items values (90, 'told by the stream')")
        assert isinstance(running.ended(), _Killed)
    with shop.producing():
        tape.wait_for(source(shop))  # fails on a doubled event


def test_a_position_behind_another_producer_s_open_transaction_is_waited_for(
    shop: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka shows nothing behind it: an older position would be taken for the last one, and events told twice."""
    caplog.set_level(logging.INFO)
    tape = shop.tape("item")
    with shop.producing():
        tape.wait_for(source(shop))
        dead = Publisher(shop.settings, shop.names.transactional_id("another"))
        dead.produce(shop.names.positions, b"another", b"{}")
        assert dead._producer.flush(10) == 0
        shop.execute(*changes(100, 20))
        tape.wait_for(source(shop))
    monkeypatch.setattr(kafka, "_PATIENCE", 2.0)
    with shop.producing():
        eventually(lambda: "a transaction is open there" in caplog.text or None, "it says what it waits for", 30)
        dead.close()
        shop.execute(*changes(200, 1))
        tape.wait_for(source(shop))
    assert "snapshotting" not in caplog.text


def test_a_topic_that_diverged_leaves_the_others_alone(make_shop: MakeShop, caplog: pytest.LogCaptureFixture) -> None:
    """Its records are published above all its versions, and so are the others' changes that come again."""
    caplog.set_level(logging.INFO)
    shop = make_shop(
        "create table items (id int primary key, name text); create table places (id int primary key, name text)"
    )
    shop.describe({"item": (ITEM, {"table": "items"}), "place": (ITEM, {"table": "places"})})
    shop.apply()
    shop.execute("insert into items values (80, 'n')")
    tape, places, topic = shop.tape("item"), shop.tape("place"), shop.names.topic("item")
    tables = ("places", "items")
    leave_behind(shop, tape, *(f"insert into {table} values ({n}, 'n')" for n in range(10) for table in tables))
    version, value = newest(shop, topic)[b"9"]
    later = version + 2**40
    write(shop, topic, partition_of(shop, topic, b"9"), b"9", with_version(value, later))
    shop.execute(*changes(20, 40))
    with shop.producing():
        eventually(lambda: newest(shop, topic)[b"9"][0] > later or None, "the topic is published again", 40)
        shop.execute("insert into places values (20, 'n')")
        places.wait_for({str(id): {"id": id, "name": name} for id, name in shop.rows("select id, name from places")})
    assert "snapshotting item again" in caplog.text
    assert "snapshotting place again" not in caplog.text
