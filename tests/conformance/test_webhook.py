"""Our webhook connectors pass the conformance suite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from sorbus.conformance import ConsumerConformance, Target, Thing
from sorbus.consumers.webhook.consumer import WebhookConsumer
from tests.webhook.receiver import SECRET, Receiver, Reply, receiving

TYPES = {"amount": Decimal, "made_on": date.fromisoformat, "seen_at": datetime.fromisoformat}


class Endpoint(Target):
    """A receiver that keeps the newest state of each record."""

    connector = WebhookConsumer
    many = 150

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.connection = {"url": receiver.url, "signing_secret": SECRET, "allow_private_addresses": True}
        self.damaged: dict[str, int] = {}
        receiver.answer = self.answer

    def answer(self, body: dict[str, Any]) -> Reply:
        return Reply(422, {}, b"no such name") if (body["data"] or {}).get("name") == "refused" else Reply(200)

    def read(self) -> Mapping[str, Thing]:
        found: dict[str, Thing] = {}
        for place, one in enumerate(self.receiver.accepted()):  # with repeated ids: what comes last counts
            if one.body["deleted"]:
                found.pop(one.body["id"], None)
                continue
            data = {name: value for name, value in one.body["data"].items() if name != "id"}
            if place < self.damaged.get(one.body["id"], 0):
                data["name"] = "damaged"
            found[one.body["id"]] = {
                name: TYPES[name](value) if name in TYPES and value is not None else value
                for name, value in data.items()
            }
        return found

    @contextmanager
    def broken(self) -> Iterator[None]:
        self.receiver.stop()
        try:
            yield
        finally:
            self.receiver.start()

    def refused(self) -> Thing:
        return {"name": "refused"}

    def damage(self, id: str) -> None:
        self.damaged[id] = len(self.receiver.accepted())

    def writes(self) -> int:
        return len(self.receiver.accepted())


@pytest.fixture
def state(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where versions are kept."""
    monkeypatch.setenv("SORBUS_DATABASE", database)


@pytest.mark.usefixtures("state")
class TestWebhookTarget(ConsumerConformance):
    @pytest.fixture
    def target(self) -> Iterator[Target]:
        with receiving() as receiver:
            yield Endpoint(receiver)
