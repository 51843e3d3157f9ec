"""Our webhook connectors pass the conformance suite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from sorbus.bus.names import Names
from sorbus.conformance import ConsumerConformance, ProducerConformance, Source, Target, Thing
from sorbus.conformance.in_memory_bus import InMemoryBus
from sorbus.consumers.webhook.consumer import WebhookConsumer
from sorbus.ops.embedded import Addresses
from sorbus.producers.webhook.producer import WebhookProducer
from sorbus.settings import Settings
from tests.webhook.posting import RecordHouse, posting_house
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


class Poster(Source):
    """An application that posts its things, signed, to the service as it runs."""

    connector = WebhookProducer
    longest = 100_000
    many = 400

    def __init__(self, house: RecordHouse) -> None:
        self.house = house
        self.topic_prefix = house.names.prefix
        self.connection = {"webhook_secret": SECRET}
        self.options = {"id": "id", "deleted": {"gone": "true"}, "absent": "empty"}

    def put(self, things: Mapping[str, Thing]) -> None:
        records = [{**plain(thing), "id": id} for id, thing in things.items()]
        for at in range(0, len(records), 100):
            answer = self.house.post(records[at : at + 100])
            assert answer.status_code == 200, answer.text

    def remove(self, id: str) -> None:
        assert self.house.post({"id": id, "gone": True}).status_code == 200

    def spoil(self, id: str) -> None:
        answer = self.house.post({"id": id, "name": "spoiled", "made_on": "soon"})
        assert answer.status_code == 422
        assert answer.json()["refused"][0]["record"] == id


def plain(thing: Thing) -> dict[str, object]:
    return {
        name: value.isoformat() if isinstance(value, date) else str(value) if isinstance(value, Decimal) else value
        for name, value in thing.items()
    }


@pytest.mark.slow
class TestPoster(ProducerConformance):
    @pytest.fixture
    def source(self, stack: Addresses, unique: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
        monkeypatch.setenv("SORBUS_KAFKA", stack.kafka)
        with posting_house(Settings(kafka=stack.kafka), Names(f"{unique}.")) as house:
            poster = Poster(house)
            house.hear(poster.system(), poster.sources())
            yield poster

    def test_one_bad_record_never_holds_the_others(self, tape: InMemoryBus) -> None:
        """Each post was a state of its own: what was posted before the bad one stays."""
        things = self._things(tape.source, 20)
        bad = list(things)[7]
        tape.source.put(things)
        tape.source.spoil(bad)
        tape.until_live(things)
        tape.until(lambda: bad in tape.rejected, lambda: f"a reject of {bad}: {tape.rejected}")
        tape.source.put({bad: things[bad]})
        tape.until(lambda: bad not in tape.rejected, lambda: f"{bad} is still rejected: {tape.rejected}")
        tape.until_live(things)
