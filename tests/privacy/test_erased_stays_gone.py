"""What topics still hold of an erased record isn't delivered again: by a replay, a shadow or a flow that reads anew."""

from __future__ import annotations

import psycopg
import pytest
from confluent_kafka import KafkaException, Message

from sorbus.bus.kafka import admin
from sorbus.bus.names import Names
from sorbus.erased import ErasedRecords
from sorbus.ops.embedded import Addresses
from sorbus.settings import Settings
from sorbus.state.database import State, close_states, migrate
from tests.consumers.gadgets import Writer, gadget
from tests.databases import new_database
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
    client, group = admin(people.settings), people.names.group(FLOW)

    def without_offsets() -> bool:
        try:
            client.delete_consumer_groups([group])[group].result(30)
        except KafkaException:  # its member has just left
            return False
        return True

    eventually(without_offsets, "the flow's group without offsets")
    with people.running("consume"):
        eventually(lambda: people.rows("archive", THERE.format("p2")), "p2 in the archive")


def erase(people: People) -> None:
    """p1 comes and is deleted and erased; p2 stays."""
    with people.running():
        eventually(lambda: people.rows("archive", THERE.format("p1")), "p1 in the archive")
        people.execute("crm", "delete from people where id = 'p1'")
        eventually(lambda: people.rows("archive", MARKED), "the delete in the archive")
        eventually(lambda: not people.rows("books", "select 1 from persons where id = 'p1'"), "the delete in books")
        people.sorbus("forget", "person", "p1", "--yes")


def stays_gone(people: People) -> None:
    """Whatever delivers the topic again."""
    for again in (replay_shadow, replay_emptied, read_anew):
        again(people)
        assert "xanthippe" not in people.dump("archive").casefold(), again.__name__
        assert people.rows("archive", THERE.format("p2")), f"nobody else's record is left out: {again.__name__}"


def test_an_erased_record_is_not_brought_back(people: People) -> None:
    people.execute("crm", PUT.format("p1", "Xanthippe"))
    people.execute("crm", PUT.format("p2", "Other"))
    erase(people)
    stays_gone(people)

    people.execute("crm", PUT.format("p1", "Xanthos"))
    with people.running():
        eventually(lambda: people.rows("archive", THERE.format("p1")), "what its owner makes of it later is delivered")
    people.execute("archive", "update persons set name = 'changed by hand' where id = 'p1'")
    people.sorbus("replay", FLOW)
    assert people.rows("archive", "select name from persons where id = 'p1'") == [("Xanthos",)]


def test_nor_is_it_once_the_state_was_restored_to_before(people: People, stack: Addresses) -> None:
    people.execute("crm", PUT.format("p1", "Xanthippe"))
    people.execute("crm", PUT.format("p2", "Other"))
    close_states()
    backup = new_database(stack.database, people.dsns["state"].rpartition("/")[2])
    erase(people)
    close_states()
    people.dsns["state"] = people.env["SORBUS_DATABASE"] = backup
    stays_gone(people)


ERASED_AT, DAY = 1_800_000_000, 86_400


@pytest.mark.parametrize(
    ("id", "version", "written", "is_left_out"),
    [
        ("p1", 7, ERASED_AT - 30 * DAY, True),
        ("p1", 7, ERASED_AT + DAY // 2, True),  # by a clock that was ahead
        ("p1", 8, ERASED_AT + 60, False),
        ("p1", 3, ERASED_AT + 2 * DAY, False),  # versions began again with a new Kafka
        ("p2", 4, ERASED_AT - 30 * DAY, True),
        ("p2", 5, ERASED_AT + 60, False),  # erased before, too, when versions were higher
        ("p3", 1, ERASED_AT - 30 * DAY, False),
        ("p4", 1, ERASED_AT - 30 * DAY, False),  # it was never seen when it was erased
    ],
)
def test_only_what_was_erased_is_left_out(
    stack: Addresses, database: str, unique: str, id: str, version: int, written: int, is_left_out: bool
) -> None:
    """A living record that is left out is lost in silence."""
    state = State(database, unique)
    migrate(state)
    with psycopg.connect(database, autocommit=True) as owner:
        for erased, receipt, at in (
            ("p1", '{"version": 7}', ERASED_AT),
            ("p2", '{"version": 9}', ERASED_AT - 9 * DAY),
            ("p2", '{"version": 4}', ERASED_AT),
            ("p4", '{"version": null}', ERASED_AT),
        ):
            owner.execute(
                f'insert into "{state.schema}".erasure (at, who, data_type, id, reason, complete, receipt, hash)'
                " values (to_timestamp(%s), 'Ann', 'gadget', %s, '', true, %s, '')".encode(),
                (at, erased, receipt),
            )
    value, _ = Writer().event(id, version, gadget("x"))
    message = Message(topic="t", partition=0, offset=0, key=id.encode(), value=value, timestamp=(1, 1000 * written))
    records = ErasedRecords(state, Settings(kafka=stack.kafka), Names(unique), "gadget")
    records.read()
    assert records.without([message]) == ([] if is_left_out else [message])
    state.close()
