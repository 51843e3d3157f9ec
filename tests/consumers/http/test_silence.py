"""Deliveries that report no change set off no notifications in the application, as its description says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import Message

from sorbus.bus.deserialize import decode_batch
from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.consumers.http.consumer import HttpConsumer
from sorbus.event import HISTORICAL
from sorbus.settings import Settings
from tests.consumers.http.house import CONTACT, WRITER, House, contact, event
from tests.http_api.faulty import DESCRIBED, Faulty

WAYS = {
    "parameters": {"notify": "false"},
    "headers": {"X-Notify": "no"},
    "fields": {"city": "Quiet"},
}


def described(**silent: object) -> dict[str, Any]:
    """The application's resources, each write of contacts with this silence."""
    contacts = dict(DESCRIBED["resources"]["contacts"])
    for name in ("create", "update", "delete"):
        contacts[name] = {**contacts[name], "silent": silent}
    return {**DESCRIBED["resources"], "contacts": contacts}


def told(faulty: Faulty, method: str) -> list[tuple[str | None, str, object]]:
    """What each write said of notifications: by parameter, by header, by field."""
    return [
        (one.parameters.get("notify"), one.notify, (one.body or {}).get("contact", {}).get("city"))
        for one in faulty.asked
        if one.method == method
    ]


@pytest.mark.parametrize("way", WAYS)
def test_a_replay_and_a_first_copy_are_silent_and_changes_are_not(house: House, way: str) -> None:
    flow = house.flow(resources=described(**{way: WAYS[way]}))
    assert HttpConsumer.can_be_silent(flow)
    consumer = house.opened(flow)
    silent = ("false" if way == "parameters" else None, "no" if way == "headers" else "")
    field = "Quiet" if way == "fields" else None
    old = event("1", 1, contact("Ada"))._replace(historical=True)
    house.deliver(consumer, old, event("2", 1, contact("Bob")))
    assert sorted(told(house.faulty, "POST"), key=str) == sorted([(*silent, field), (None, "", None)], key=str)
    house.deliver(consumer, event("1", 2, contact("Ada L"))._replace(historical=True))
    house.deliver(consumer, event("2", 2, contact("Bob B")))
    assert told(house.faulty, "PATCH") == [(*silent, field), (None, "", None)]
    house.deliver(consumer, event("1", 3, None)._replace(historical=True))
    assert told(house.faulty, "DELETE") == [(*silent, None)]


def test_a_flow_may_want_the_notifications(house: House) -> None:
    flow = house.flow(resources=described(headers={"X-Notify": "no"}))
    flow = replace(flow, flow=flow.flow.model_copy(update={"notify": "always"}))
    assert not HttpConsumer.can_be_silent(flow)
    house.deliver(house.opened(flow), event("1", 1, contact("Ada"))._replace(historical=True))
    assert told(house.faulty, "POST") == [(None, "", None)]


def test_the_mark_of_an_event_is_read_where_it_matters() -> None:
    book = SchemaResolver(Settings(registry=""), Names(), [CONTACT])
    messages = []
    for id, mark in (("1", [(HISTORICAL, b"1")]), ("2", [])):
        value, headers = WRITER.event(id, 1, contact(id))
        messages.append(
            Message(topic="contact", partition=0, offset=1, key=id.encode(), value=value, headers=[*headers, *mark])
        )
    assert [one.historical for one in decode_batch(messages, book, marks=True).deliveries] == [True, False]
    assert [one.historical for one in decode_batch(messages, book).deliveries] == [False, False]
