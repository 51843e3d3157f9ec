"""A topic that takes less than an event has, as providers limit it: a dead letter, and everything else is published."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sorbus.producers import own_topics
from sorbus.schema import AvroType
from tests.producers.shop import Shop
from tests.topics import set_topic

MakeShop = Callable[..., Shop]
ITEM: list[AvroType] = [{"name": "id", "type": "long"}, {"name": "name", "type": ["null", "string"]}]
LARGE = "(select string_agg(md5(i::text || random()::text), '') from generate_series(1, 5000) i)"
"""160 kB, which compression halves."""


@pytest.fixture
def shop(make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(own_topics, "_COMPARE_EVERY", 0.3)
    shop = make_shop("create table items (id int primary key, name text); insert into items values (1, 'one')")
    shop.describe({"item": (ITEM, {"table": "items"})})
    shop.apply()
    for topic in (shop.names.topic("item"), shop.names.dead_letters("item")):
        set_topic(shop.settings, topic, max_message_bytes="60000")
    return shop


@pytest.mark.parametrize("others", [1, 1000])
@pytest.mark.parametrize("is_copied", [True, False], ids=["snapshot", "stream"])
def test_an_event_larger_than_its_topic_takes_is_a_dead_letter(shop: Shop, *, is_copied: bool, others: int) -> None:
    several = f"insert into items select 2, {LARGE} union all select n, 'x' from generate_series(3, {2 + others}) n"
    tape, letters = shop.tape("item"), shop.dead_letters("item")
    if is_copied:
        shop.execute(several)
    with shop.producing():
        if not is_copied:
            tape.wait(lambda: not tape.read() and "1" in tape.live(), "the first")
            shop.execute(several)
        tape.wait(lambda: not tape.read() and len(tape.live()) == 1 + others, lambda: len(tape.live()), 60)
        letters.wait(lambda: not letters.read() and bool(letters.letters), "its letter")
        (letter,) = letters.letters.values()
        assert letter.record_id == b"2"
        assert f"raise max.message.bytes of {shop.names.topic('item')}" in letter.message
        set_topic(shop.settings, shop.names.topic("item"), max_message_bytes="8100000")
        tape.wait(lambda: not tape.read() and publish_again(shop, tape.live()), "it, once its topic takes it", 60)
        letters.wait(lambda: not letters.read() and not letters.letters, "its letter's end")


def publish_again(shop: Shop, live: dict[str, dict[str, object]]) -> bool:
    """Whether it is there; else its owner changes it once more: how much a topic takes is looked at now and then."""
    if "2" not in live:
        shop.execute(f"update items set name = {LARGE} where id = 2")
    return "2" in live


def test_a_batch_of_small_events_is_no_larger_than_its_topic_takes(shop: Shop) -> None:
    unlike = "(select string_agg(md5(i::text || random()::text || n), '') from generate_series(1, 160) i)"  # unlike
    shop.execute(f"insert into items select n, {unlike} from generate_series(2, 200) n")
    tape = shop.tape("item")
    with shop.producing():
        tape.wait(lambda: not tape.read() and len(tape.live()) == 200, lambda: len(tape.live()), 60)
