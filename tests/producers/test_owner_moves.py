"""A topic that isn't as its producer left it: another owner published it, it was made again, or it lost messages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import pytest
from confluent_kafka import KafkaException, Producer

from sorbus.avro.encode import encoder
from sorbus.bus.kafka import admin, base_config
from sorbus.bus.positions import position_message, read_positions
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.bus.topic_ownership import TOPICS_KEY, owned
from sorbus.event import event_encoder
from sorbus.ops.runtime.planning import plan
from sorbus.producers import own_topics
from sorbus.schema import AvroType, FieldType
from tests.producers.shop import Record, Shop
from tests.topics import delete_messages, delete_topic

MakeShop = Callable[..., Shop]
ITEM: list[AvroType] = [{"name": "id", "type": "long"}, {"name": "name", "type": ["null", "string"]}]
ITEMS = (
    "create table items (id int primary key, name text);insert into items values (1, 'one'), (2, 'two'), (3, 'three')"
)
SHOP_HAS: dict[str, Record | None] = {
    "1": {"id": 1, "name": "one"},
    "2": {"id": 2, "name": "two"},
    "3": {"id": 3, "name": "three"},
}


@pytest.fixture
def shop(make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(own_topics, "_COMPARE_EVERY", 0.2)
    made = make_shop(ITEMS)
    made.describe({"item": (ITEM, {"table": "items"})})
    made.apply()
    return made


def publish_as(shop: Shop, system: str, events: Iterable[tuple[int, int, str | None]]) -> None:
    """What another system's producer has published: (id, version, name; None: deleted)."""
    schema = shop.loaded().schema("item")
    encode = encoder(FieldType("record", fields=schema.fields))
    event = event_encoder(SchemaResolver(shop.settings, shop.names).prefix("item", schema), system, "item")
    producer = Producer(base_config(shop.settings, "test"))
    for id, version, name in events:
        key = str(id).encode()
        value, headers = event(key, version, 0, 0, None if name is None else encode({"id": id, "name": name}))
        producer.produce(shop.names.topic("item"), value, key, headers=headers)
        if name is None:
            producer.produce(shop.names.topic("item"), None, key)
    assert producer.flush(30) == 0


@pytest.mark.parametrize(
    "version", [7, 2**40, 1_800_000_000_000_000], ids=["a young cluster", "an old cluster", "microseconds of HTTP"]
)
def test_a_new_owner_begins_above_what_the_topic_holds_and_sweeps_the_rest(shop: Shop, version: int) -> None:
    publish_as(shop, "former", [(1, version, "of former"), (9, version + 1, "of former"), (3, version + 2, None)])
    tape = shop.tape("item")
    with shop.producing():
        tape.wait_for(SHOP_HAS)  # the tape fails where a record goes back to an older version
        shop.execute("update items set name = 'later' where id = 2", "delete from items where id = 1")
        tape.wait_for({"2": {"id": 2, "name": "later"}, "3": SHOP_HAS["3"]})
    assert "9" in tape.tombstones, "what the former owner alone had is still there"
    count = len(tape.events)
    with shop.producing():  # it is the owner now: nothing is copied again
        shop.execute("update items set name = 'last' where id = 3")
        tape.wait_for({"2": {"id": 2, "name": "later"}, "3": {"id": 3, "name": "last"}})
    assert len(tape.events) == count + 1


def test_an_owner_that_comes_back_begins_above_the_one_between(shop: Shop) -> None:
    tape = shop.tape("item")
    with shop.producing():
        tape.wait_for(SHOP_HAS)
    highest = max(event.version for event in tape.events)
    publish_as(shop, "between", [(1, highest + 10**9, "between"), (8, highest + 10**9, "between")])
    # What the system between would have written into its position.
    mine = owned(read_positions(shop.settings, shop.names)["shop"])["item"]
    entry = {**mine.to_json(), "epoch": mine.epoch + 1, "version": highest + 10**9}
    topic, key, value = position_message(shop.names, "between", {TOPICS_KEY: {"item": entry}})
    producer = Producer(base_config(shop.settings, "test"))
    producer.produce(topic, value, key)
    assert producer.flush(30) == 0
    shop.execute("update items set name = 'meanwhile' where id = 2")
    with shop.producing():
        tape.wait_for({**SHOP_HAS, "2": {"id": 2, "name": "meanwhile"}})
        shop.execute("update items set name = 'after' where id = 1")
        tape.wait_for({**SHOP_HAS, "1": {"id": 1, "name": "after"}, "2": {"id": 2, "name": "meanwhile"}})


def remake(shop: Shop, topic: str) -> None:
    """Deletes a topic, and makes it again as `sorbus apply` does."""
    client = admin(shop.settings)
    delete_topic(client, topic)
    end = time.monotonic() + 30
    while topic in client.list_topics(timeout=10).topics:
        assert time.monotonic() < end, f"{topic} is still there"
        time.sleep(0.05)
    with suppress(KafkaException):  # the broker may have made it for a producer that asked
        shop.apply()


@pytest.mark.parametrize("topic", ["item", "sorbus.positions"])
def test_a_topic_that_was_made_again_is_filled_again(shop: Shop, topic: str) -> None:
    before = shop.tape("item")
    with shop.producing():
        before.wait_for(SHOP_HAS)
    highest = max(event.version for event in before.events)
    remake(shop, shop.names.topic(topic))
    shop.execute("update items set name = 'later' where id = 1", "delete from items where id = 2")
    tape = shop.tape("item")
    with shop.producing():
        tape.wait_for({"1": {"id": 1, "name": "later"}, "3": SHOP_HAS["3"]})
    again = tape.events_of("3")[-1]
    assert again.version > highest, "targets would refuse it"


def test_messages_that_a_topic_loses_while_the_producer_runs_are_published_again(shop: Shop) -> None:
    tape = shop.tape("item")
    topic = shop.names.topic("item")
    with shop.producing():
        tape.wait_for(SHOP_HAS)
        old = {id: tape.events_of(id)[-1].version for id in SHOP_HAS}
        delete_messages(shop.settings, topic)
        tape.wait(
            lambda: all(tape.events_of(id)[-1].version > old[id] for id in SHOP_HAS), "every record published again"
        )


def test_another_kind_of_system_under_the_same_name_begins_anew(shop: Shop) -> None:
    publish_as(shop, "shop", [(1, 2**50, "by its old connector"), (7, 2**50, "by its old connector")])
    position = {"sorbus.kind": "http", "sorbus.application": "somewhere", "item": {"cursor": 1}}
    topic, key, value = position_message(shop.names, "shop", position)  # type: ignore[arg-type]
    producer = Producer(base_config(shop.settings, "test"))
    producer.produce(topic, value, key)
    assert producer.flush(30) == 0
    tape = shop.tape("item")
    with shop.producing():
        tape.wait_for(SHOP_HAS)


def test_plan_counts_what_a_move_will_replace_and_remove(shop: Shop) -> None:
    publish_as(shop, "former", [(id, id, "of former") for id in range(2, 12)])
    moved = [step for step in plan(shop.loaded(), shop.settings) if "moves" in step.what]
    assert [(step.where, step.what) for step in moved] == [("shop", "item moves from former to shop")]
    for words in ("10 records of former", "2 will be replaced", "8 removed", "1 are new"):
        assert words in moved[0].detail
    tape = shop.tape("item")
    with shop.producing():
        tape.wait_for(SHOP_HAS)
    assert not [step for step in plan(shop.loaded(), shop.settings) if step.where == "shop"]
    remake(shop, shop.names.topic("item"))
    [again] = [step for step in plan(shop.loaded(), shop.settings) if step.where == "shop"]
    assert "deleted and recreated" in again.detail


def test_letters_of_the_former_owner_are_closed(make_shop: MakeShop) -> None:
    """Nobody publishes those records any more: what is wrong with them is the new owner's to say."""
    shop = make_shop(
        "create table things (id int primary key, size text); insert into things values (1, 'one'), (2, 'two')"
    )
    sheet = [("things.size", "thing.size", "value | integer")]
    fields: list[AvroType] = [{"name": "size", "type": "int"}]

    def owned_by(system: str) -> None:
        shop.owner = system
        shop.describe({"thing": (fields, {"table": "things"})}, sheet=sheet)
        shop.apply()

    owned_by("shop")
    letters = shop.dead_letters("thing")

    def told() -> set[tuple[str, bytes]]:
        letters.read(0.05)
        return {(letter.system, letter.record_id) for letter in letters.letters.values()}

    with shop.producing():
        letters.wait(lambda: told() == {("shop", b"1"), ("shop", b"2")}, told)
    shop.execute("update things set size = '1' where id = 1")
    owned_by("house")
    with shop.producing():
        letters.wait(lambda: told() == {("house", b"2")}, told)
        shop.execute("delete from things where id = 2")
        letters.wait(lambda: not told(), told)
