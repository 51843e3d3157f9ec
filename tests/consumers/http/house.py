"""Contacts: a small data type of these tests' own, and flows that bring it into the faulty application."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from sorbus.connector import BoundFlow, BoundSystem, Delivery
from sorbus.consumers.http.consumer import HttpConsumer
from sorbus.consumers.http.options import HttpTarget
from sorbus.errors import PermanentError, Unfinished
from sorbus.http_api.connection import HttpConnection
from sorbus.identity.crosswalk import Crosswalk, Link
from sorbus.mapfile.model import DataType, FieldMapping, Flow, System
from sorbus.schema import parse_schema
from sorbus.state.database import State
from tests.consumers.gadgets import Writer
from tests.http_api.faulty import Faulty

_FIELDS: list[Mapping[str, object]] = [
    {"name": "name", "type": "string"},
    {"name": "email", "type": ["null", "string"], "default": None},
    {"name": "tax_number", "type": ["null", "string"], "default": None},
    {
        "name": "amount",
        "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}],
        "default": None,
    },
    {"name": "city", "type": ["null", "string"], "default": None},
]
CONTACT = parse_schema(json.dumps({"type": "record", "name": "contact", "fields": _FIELDS}))
ROWS = [
    ("name", "contacts.name", ""),
    ("email", "contacts.email", ""),
    ("tax_number", "contacts.tax_number", ""),
    ("amount", "contacts.amount", ""),
    ("city", "contacts.city", ""),
]
WRITER = Writer(CONTACT)
Record = Mapping[str, object]


def contact(name: str, **more: object) -> dict[str, object]:
    """A contact with an address of its own."""
    plain = {
        "email": f"{name.replace(' ', '.').lower()}@example.test",
        "tax_number": None,
        "amount": None,
        "city": None,
    }
    return {"name": name, **plain, **more}


def event(id: str, version: int, record: Record | None) -> Delivery:
    """A delivery; None: deleted."""
    return WRITER.delivery(id, version, record)


class Done(NamedTuple):
    """What came of a batch: by place, why it was refused."""

    refused: dict[int, PermanentError]

    @property
    def reasons(self) -> dict[int, str]:
        return {place: error.reason for place, error in self.refused.items()}


class House:
    """A flow into a faulty application, on a real state."""

    def __init__(self, faulty: Faulty, state: State, folder: Path, system: str) -> None:
        self.faulty, self.state, self._folder, self.system = faulty, state, folder, system
        self._into("contacts")
        self._open: list[HttpConsumer] = []

    def flow(
        self,
        *,
        resource: str = "contacts",
        match: Sequence[str] = ("email", "tax_number"),
        deletes: str = "hard",
        on_duplicate: str = "ask",
        on_conflict: str = "overwrite",
        rows: Sequence[tuple[str, str, str]] = ROWS,
        target: Mapping[str, object] | None = None,
        **description: object,
    ) -> BoundFlow:
        """A flow of contacts; `description` changes the application's."""
        self._into(resource)
        api = self.faulty.describe(self._folder, **description)
        connection = HttpConnection.model_validate(
            {"api": api, "base_url": self.faulty.base_url, "api_key": self.faulty.api_key}
        )
        mapping = tuple(
            FieldMapping(
                source_system="canonical",
                source_field=f"contact.{field}",
                target_system=self.system,
                target_field=into.replace("contacts.", f"{resource}."),
                rule=rule,
            )
            for field, into, rule in rows
        )
        return BoundFlow(
            Flow.model_validate(
                {
                    "data_type": "contact",
                    "to": self.system,
                    "deletes": deletes,
                    "on_duplicate": on_duplicate,
                    "on_conflict": on_conflict,
                }
            ),
            DataType(match=list(match)),
            CONTACT,
            mapping,
            HttpTarget.model_validate({"resource": resource, **(target or {})}),
            BoundSystem(self.system, System(kind="http"), connection, folder=self._folder),
        )

    def opened(self, flow: BoundFlow | None = None, **changes: object) -> HttpConsumer:
        """A consumer that is ready; closed when the test ends."""
        consumer = HttpConsumer(flow or self.flow(**changes), self.state)  # type: ignore[arg-type]
        consumer.open()
        self._open.append(consumer)
        return consumer

    def deliver(self, consumer: HttpConsumer, *events: Delivery, again: bool = False, calls: int = 40) -> Done:
        """Applies until it is finished, as the loop does, but without the pauses."""
        for _ in range(calls):
            try:
                return Done({found.place: found.error for found in consumer.apply(events, again=again)})
            except Unfinished as error:
                last = error
        raise AssertionError(f"not finished after {calls} calls: {last}")

    def _into(self, resource: str) -> None:
        self.resource = resource
        self.crosswalk = Crosswalk(self.state, self.system, "contact", resource)

    def link(self, id: str) -> Link | None:
        return self.crosswalk.find([id]).get(id)

    def linked(self, id: str) -> str:
        """The external id."""
        return self.crosswalk.external_of([id])[id]

    def there(self) -> dict[str, tuple[object, ...]]:
        """What the application holds: name -> the other fields that contacts have here."""
        return {name: shown(one) for name, one in self.faulty.contacts("name").items()}

    def sent(self, method: str) -> list[object]:
        """The bodies of all requests of a method."""
        return [one.body for one in self.faulty.asked if one.method == method]

    def close(self) -> None:
        for consumer in self._open:
            consumer.close()


def shown(record: Record) -> tuple[object, ...]:
    """A contact's fields, comparable on both sides."""
    amount = record.get("amount")
    return (
        record.get("email"),
        record.get("tax_number"),
        None if amount is None else Decimal(str(amount)),
        record.get("city"),
    )
