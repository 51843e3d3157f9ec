"""`sorbus forget`: after it nothing of a record is left where Sorbus has been, and the receipt says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from sorbus.bus.kafka import all_partitions, bytes_of, headers_of, read_to_end, topic_reader
from sorbus.identity.crosswalk import Crosswalk
from sorbus.ops.forget.receipt import content_hash
from sorbus.state.database import State
from tests.commands import type_command
from tests.privacy.people import People, eventually

MARKER = "Xanthippe"
CANDIDATE = """
insert into {schema}.duplicate_candidates (system, data_type, resource, id, version, why, record, candidates, state)
values ('shop', 'person', 'people', 'p1', 1, 'alike Xanthippe', '{{"name": "Xanthippe"}}',
    '[{{"external_id": "X9", "score": 80, "reasons": ["same name"], "fields": {{"name": "Xanthippe"}}}}]', 'open'),
    ('shop', 'person', 'people', 'p2', 1, 'alike', '{{"name": "Other"}}',
    '[{{"external_id": "X1", "score": 80, "reasons": ["Xanthippe"], "fields": {{"name": "Xanthippe"}}}}]', 'open')
"""
WAITING = """
insert into {schema}.waiting (flow, key, version, data_type, system, why, needs, message, frame, header_names,
    header_values, topic, partition, "offset", since, next_at)
values ('person-to-shop', 'p1', 1, 'person', 'shop', 'incomplete', '[]', 'Xanthippe lacks a code',
    '\\x0000000001047031000258616e746869707065', '{{}}', '{{}}', 'person', 0, 0, now(), now())
"""


def live(people: People, topic: str) -> str:
    """What a compacted topic holds in the end: the last message of each key, its headers too."""
    reader = topic_reader(people.settings, "live")
    found: dict[bytes, str] = {}
    try:
        for message in read_to_end(reader, all_partitions(reader, topic)):
            key, value = bytes_of(message.key()), message.value()
            found.pop(key, None)
            if value is not None:
                found[key] = f"{bytes_of(value)!r} {headers_of(message)!r}"
    finally:
        reader.close()
    return "\n".join(found.values())


@pytest.fixture
def state(people: People) -> Iterator[State]:
    opened = State(people.dsns["state"], people.names.prefix)
    yield opened
    opened.close()


def dry_run(people: People) -> dict[str, Any]:
    """What erasing p1 would do; it isn't complete while a flow hasn't noted that it has delivered the delete."""
    done = type_command("forget", "person", "p1", "--dry-run", "--json", env=people.env)
    told: dict[str, Any] = json.loads(_json(done.output))
    return told


def test_after_it_nothing_of_the_record_is_left(people: People, state: State) -> None:
    people.execute("crm", "insert into people values ('p1', 'Xanthippe', 'xanthippe@x.org', 'k', null, 'active')")
    people.execute("crm", "insert into people values ('p2', 'Other', 'other@x.org', 'k', null, 'active')")
    crosswalk = Crosswalk(state, "shop", "person", "people")
    crosswalk.link("p1", "X1", 1, {"name": "Xanthippe"})
    for script in (CANDIDATE, WAITING):
        people.execute("state", script.format(schema=state.schema))
    assert MARKER not in people.sorbus("duplicates", "list", "--json") + people.sorbus("duplicates", "show", "1")
    shown = people.sorbus("duplicates", "show", "1", "--show-personal")
    assert MARKER in shown
    assert "personal values shown" in shown
    with people.running():
        eventually(lambda: people.rows("books", "select 1 from persons where id = 'p1'"), "p1 in books")
        eventually(lambda: people.rows("archive", "select 1 from persons where id = 'p1'"), "p1 in the archive")
        people.execute("crm", "update people set state = 'refused' where id = 'p1'")
        eventually(lambda: people.letters() == 1, "a dead letter of p1")
        people.sorbus("dlq", "requeue", "--all")  # in vain: it leaves a copy on the requeue topic

        for ways in ([], ["--yes"]):
            refused = people.sorbus("forget", "person", "p1", *ways, status=4)
            assert "delete it in crm first" in refused
            assert "Go on?" not in refused, "nobody is asked what can't be done"

        people.execute("crm", "delete from people where id = 'p1'")
        topic = people.names.topic("person")
        eventually(lambda: MARKER not in live(people, topic), "the owner's delete on the topic")
        crosswalk.gone("p1", 2**60)  # as the flow into the shop, were it running, would
        gone = "select 1 from persons where id = 'p1' and sorbus_deleted_at is not null"
        eventually(lambda: people.rows("archive", gone), "the delete in the archive")
        eventually(lambda: not people.rows("books", "select 1 from persons where id = 'p1'"), "the delete in books")

        before = people.dump("state"), people.dump("archive")
        eventually(lambda: dry_run(people)["complete"], "both flows have noted that they delivered the delete")
        assert dry_run(people)["dry_run"]
        assert (people.dump("state"), people.dump("archive")) == before, "a dry run changes nothing"

        file = people.folder / "receipt.json"
        told = people.sorbus("forget", "person", "p1", "--yes", "--reason", "request 23", "--receipt", str(file))
    receipt = json.loads(file.read_text())
    assert receipt["complete"], receipt
    assert receipt["hash"] == content_hash(receipt)
    assert MARKER not in file.read_text() + told
    counts = {f"{done['where']}: {done['what']}": done["count"] for done in receipt["erased"]}
    assert counts["archive: personal fields that flow person-to-archive leaves"] == 1
    assert counts["state database, crosswalk: values sent, ids in targets"] == 1
    assert any(left["until"] for left in receipt["left"]), f"older states on the topic, until when: {receipt}"

    for where in ("books", "archive", "state"):
        assert MARKER.casefold() not in people.dump(where).casefold(), where
    for each in (topic, people.names.dead_letters("person"), people.names.requeue("person-to-books")):
        assert MARKER.casefold() not in live(people, each).casefold(), each
    assert people.rows("archive", "select name, email, sorbus_deleted_at is null from persons where id = 'p1'") == [
        ("", None, False)
    ]
    assert people.rows("books", "select name from persons") == [("OTHER",)], "nobody else's record is touched"

    again = json.loads(_json(people.sorbus("forget", "person", "p1", "--yes", "--json")))
    assert not any(done["count"] for done in again["erased"]), "nothing is left to do"
    assert people.rows("state", f"select id, complete from {state.schema}.erasure order by number") == [
        ("p1", True),
        ("p1", True),
    ]

    told = people.sorbus("forget", "person", "p11", "--dry-run")
    assert "has no event of it" in told, "a slip in the id isn't taken for an erasure"

    people.execute("crm", "delete from people where id = 'p2'")
    with people.running("produce"):
        eventually(lambda: "Other" not in live(people, topic), "the owner's delete of p2 on the topic")
    told = people.sorbus("forget", "person", "p2", "--yes", "--wait", "0.5", status=1)
    assert "flow person-to-books hasn't delivered the delete yet" in told, "what isn't done is a person's, and named"


def _json(told: str) -> str:
    return next(line for line in told.splitlines() if line.startswith("{"))
