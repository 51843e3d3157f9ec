"""What a person asks of a running producer isn't lost with its session."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
from psycopg import sql

from sorbus.bus.kafka import admin, idempotent_producer
from sorbus.bus.names import Names
from sorbus.bus.requests import reread_message
from sorbus.bus.sending import send
from sorbus.schema import AvroType
from tests.consumers.line import eventually
from tests.producers.shop import Shop
from tests.topics import delete_topic

MakeShop = Callable[..., Shop]
FIELDS: list[AvroType] = [{"name": "name", "type": "string"}]
ITEMS = "create table items (id int primary key, name text not null); insert into items values (1, 'a'), (2, 'b')"
END = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and pid <> pg_backend_pid()"


def ask(shop: Shop, *ids: bytes) -> None:
    messages = [reread_message(Names(shop.prefix), shop.owner, "item", id) for id in ids]
    send(idempotent_producer(shop.settings, "test"), messages, "asking")


def test_what_is_asked_while_the_source_is_away_is_read_once_it_is_back(make_shop: MakeShop) -> None:
    shop = make_shop(ITEMS)
    shop.describe({"item": (FIELDS, {"table": "items"})})
    shop.apply()
    server, _, database = shop.dsn.rpartition("/")
    allow = sql.SQL("alter database {} with allow_connections {}")
    with shop.producing() as running, psycopg.connect(f"{server}/postgres", autocommit=True) as server_admin:
        tape = shop.tape("item")
        tape.wait_for({"1": {"name": "a"}, "2": {"name": "b"}})
        server_admin.execute(allow.format(sql.Identifier(database), sql.SQL("false")))
        try:
            server_admin.execute(END, [database])
            eventually(lambda: running.health.waiting(), "word that the source is away")
            ask(shop, b"1")
        finally:
            server_admin.execute(allow.format(sql.Identifier(database), sql.SQL("true")))
        tape.wait(lambda: len(tape.events_of("1")) == 2, "the event that was asked for")


def test_requests_are_read_though_their_topic_was_made_again(make_shop: MakeShop) -> None:
    shop = make_shop(ITEMS)
    shop.describe({"item": (FIELDS, {"table": "items"})})
    shop.apply()
    topic = Names(shop.prefix).requests
    with shop.producing():
        tape, kafka = shop.tape("item"), admin(shop.settings)
        tape.wait_for({"1": {"name": "a"}, "2": {"name": "b"}})
        ask(shop, b"1", b"1", b"1")
        tape.wait(lambda: len(tape.events_of("1")) >= 2, "the event that was asked for")
        delete_topic(kafka, topic)
        eventually(lambda: topic not in kafka.list_topics(timeout=10).topics, "the topic's end")
        shop.apply()
        ask(shop, b"2")
        tape.wait(lambda: len(tape.events_of("2")) == 2, "the event that was asked for of the new topic", 60)


def test_what_was_asked_of_a_session_that_failed_is_read_by_the_next(make_shop: MakeShop) -> None:
    shop = make_shop(ITEMS)
    shop.describe({"item": (FIELDS, {"table": "items"})})
    shop.apply()
    server, _, database = shop.dsn.rpartition("/")
    with shop.producing() as running, psycopg.connect(f"{server}/postgres", autocommit=True) as server_admin:
        tape, requests = shop.tape("item"), running.loop._requests
        tape.wait_for({"1": {"name": "a"}, "2": {"name": "b"}})
        with psycopg.connect(shop.dsn) as other:
            other.execute("lock table items")
            ask(shop, b"1", b"2")
            eventually(lambda: len(requests.outstanding) == 2, "the requests")
            server_admin.execute(f"{END} and state = 'active' and query not like '%%pg_stat_activity%%'", [database])
            eventually(lambda: running.health.waiting(), "word that the session ended")
            other.rollback()
        tape.wait(lambda: len(tape.events_of("1")) == len(tape.events_of("2")) == 2, "the events that were asked for")
        eventually(lambda: not requests.outstanding, "that nothing is outstanding")
