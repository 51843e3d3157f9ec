"""Our HTTP connectors pass the conformance suite, at the faulty application."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from sorbus.conformance import ConsumerConformance, ProducerConformance, Source, Target, Thing
from sorbus.consumers.http.consumer import HttpConsumer
from sorbus.producers.http.producer import HttpProducer
from tests.http_api.faulty import Faulty

# The short run has the same questions asked of PostgreSQL and of the example, and the HTTP connectors' own tests.
pytestmark = pytest.mark.slow
KEPT = frozenset({"name", "note", "amount"})
MAPPING = [
    ("name", "contacts.name", ""),
    ("note", "contacts.city", ""),
    ("amount", "contacts.amount", ""),
]


@pytest.fixture(autouse=True)
def state(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where crosswalk and limits are kept."""
    monkeypatch.setenv("SORBUS_DATABASE", database)


@contextmanager
def away(faulty: Faulty) -> Iterator[None]:
    """Every connection is reset."""
    faulty.faults = {"reset": 1.0}
    try:
        yield
    finally:
        faulty.faults = {}


def thing_of(contact: Mapping[str, object]) -> Thing:
    amount = contact["amount"]
    return {
        "name": contact["name"],
        "note": contact["city"],
        "amount": None if amount in (None, "") else Decimal(str(amount)),
    }


class Contacts(Target):
    """Contacts, known again by our own id in them."""

    connector = HttpConsumer
    options = {"resource": "contacts"}  # noqa: RUF012 - read only
    mapping = MAPPING
    fields = KEPT
    longest = 180
    many = 120

    def __init__(self, faulty: Faulty, folder: Path) -> None:
        self.faulty, self.folder = faulty, folder
        api = faulty.describe(folder)
        self.connection = {"api": api, "base_url": faulty.base_url, "api_key": faulty.api_key}

    def read(self) -> Mapping[str, Thing]:
        assert self.faulty.doubles("our_id") == {}
        return {id: thing_of(contact) for id, contact in self.faulty.contacts("our_id").items()}

    def broken(self) -> Iterator[None]:
        return away(self.faulty)

    def refused(self) -> Thing:
        return {"name": "x" * 300}

    def damage(self, id: str) -> None:
        self.faulty.change(str(self.faulty.contacts("our_id")[id]["id"]), name="damaged")

    def writes(self) -> int:
        return len(self.faulty.writes)


class TestConsumer(ConsumerConformance):
    """Into contacts."""

    @pytest.fixture
    def target(self, faulty: Faulty, tmp_path: Path) -> Target:
        return Contacts(faulty, tmp_path)


class OwnContacts(Source):
    """Contacts, polled. The application numbers them itself, from 1, and uses no number twice."""

    connector = HttpProducer
    options = {"resource": "contacts", "every": "every 1s", "compare": "every 1s"}  # noqa: RUF012 - read only
    mapping = MAPPING
    fields = KEPT
    longest = 180
    many = 250

    def __init__(self, faulty: Faulty, folder: Path) -> None:
        self.faulty, self.folder = faulty, folder
        api = faulty.describe(folder)
        self.connection = {"api": api, "base_url": faulty.base_url, "api_key": faulty.api_key}

    def put(self, things: Mapping[str, Thing]) -> None:
        for id, one in sorted(things.items(), key=lambda item: int(item[0])):
            amount = one.get("amount")
            fields = {
                "name": one["name"],
                "city": one.get("note"),
                "amount": None if amount is None else str(amount),
            }
            if id in self.faulty.contacts():
                self.faulty.change(id, **fields)
            elif self.faulty.records.history_of(id):
                raise NotImplementedError("a number is never used twice")
            else:
                assert self.faulty.add(**fields) == id

    def remove(self, id: str) -> None:
        self.faulty.remove(id)

    def spoil(self, id: str) -> None:
        self.faulty.change(id, amount="not a number")

    def broken(self) -> Iterator[None]:
        return away(self.faulty)


class TestProducer(ProducerConformance):
    """From contacts."""

    @pytest.fixture
    def source(self, faulty: Faulty, tmp_path: Path) -> Source:
        return OwnContacts(faulty, tmp_path)
