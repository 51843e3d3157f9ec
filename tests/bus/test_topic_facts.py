"""Facts about topics that come and go while they are asked for."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from sorbus.bus import topic_facts as asked
from sorbus.bus.kafka import admin
from sorbus.ops.embedded import Addresses
from sorbus.settings import Settings
from tests.topics import delete_topic, make_topics, until_known


def test_a_topic_that_is_deleted_meanwhile_is_left_out(
    stack: Addresses, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = admin(Settings(kafka=stack.kafka))
    kept, gone = f"{unique}.kept", f"{unique}.gone"
    make_topics(client, NewTopic(kept, 1, 1), NewTopic(gone, 1, 1))
    until_known(client, kept)
    until_known(client, gone)
    describe, deleted = asked.topic_ids, list[str]()

    def describe_and_delete(admin: AdminClient, topics: Iterable[str]) -> dict[str, tuple[str, int]]:
        found = describe(admin, topics)
        if gone in found and not deleted:
            deleted.append(gone)
            delete_topic(client, gone)
        return found

    monkeypatch.setattr(asked, "topic_ids", describe_and_delete)
    assert asked.topic_facts(client, [kept, gone]).keys() == {kept}
