"""What topics still hold of an erased record isn't delivered again: by a replay, a shadow or a flow that reads anew."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import KafkaException

from sorbus.bus.kafka import admin
from tests.privacy.people import People, eventually

FLOW = "person-to-archive"
PUT = "insert into people values ('{0}', '{1}', '{0}@x.org', 'k', null, 'active')"
THERE = "select 1 from persons where id = '{}' and sorbus_deleted_at is null"
MARKED = "select 1 from persons where id = 'p1' and sorbus_deleted_at is not null"


def replay_shadow(people: People) -> None:
    people.sorbus("replay", FLOW, "--shadow")


def replay_emptied(people: People) -> None:
    people.execute("archive", "truncate persons, sorbus_applied")
    people.sorbus("replay", FLOW)


def read_anew(people: People) -> None:
    people.execute("archive", "truncate persons, sorbus_applied")

    def without_offsets() -> bool:
        try:
            admin(people.settings).delete_consumer_groups([people.names.group(FLOW)])[people.names.group(FLOW)].result()
        except KafkaException:  # its member has just left
            return False
        return True

    eventually(without_offsets, "the flow's group without offsets")
    with people.running("consume"):
        eventually(lambda: people.rows("archive", THERE.format("p2")), "p2 in the archive")


@pytest.mark.parametrize("again", [replay_shadow, replay_emptied, read_anew])
def test_an_erased_record_is_not_brought_back(people: People, again: Callable[[People], None]) -> None:
    people.execute("crm", PUT.format("p1", "Xanthippe"))
    people.execute("crm", PUT.format("p2", "Other"))
    with people.running():
        eventually(lambda: people.rows("archive", THERE.format("p1")), "p1 in the archive")
        people.execute("crm", "delete from people where id = 'p1'")
        eventually(lambda: people.rows("archive", MARKED), "the delete in the archive")
        eventually(lambda: not people.rows("books", "select 1 from persons where id = 'p1'"), "the delete in books")
        people.sorbus("forget", "person", "p1", "--yes")
    again(people)
    assert "xanthippe" not in people.dump("archive").casefold()
    assert people.rows("archive", THERE.format("p2")), "nobody else's record is left out"

    people.execute("crm", PUT.format("p1", "Xanthos"))
    with people.running():
        eventually(lambda: people.rows("archive", THERE.format("p1")), "what its owner makes of it later is delivered")
    people.execute("archive", "update persons set name = 'changed by hand' where id = 'p1'")
    people.sorbus("replay", FLOW)
    assert people.rows("archive", "select name from persons where id = 'p1'") == [("Xanthos",)]
