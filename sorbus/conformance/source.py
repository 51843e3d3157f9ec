"""What the suite has to know of a source: a connector's author subclasses this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from sorbus.conformance.sample_type import FIELDS, NAME, SCHEMA, Thing, rows
from sorbus.connector import BoundSource, BoundSystem, Producer, ProducerConnector
from sorbus.mapfile.model import DataType, System


class Source:
    """An empty source of things. What says "skips" may be left as it is: the tests that need it are skipped."""

    connector: ProducerConnector
    """The connector's class."""
    connection: Mapping[str, object] = {}
    """The system's `connection:` as a map would have it."""
    options: Mapping[str, object] = {}
    """The data type's `source:` likewise."""
    mapping: Sequence[tuple[str, str, str]] = ()
    """Rows of a mapping sheet: field of a thing, field of the source, rule. None: same names."""
    topic_prefix: str = ""
    folder: Path = Path()
    """Where the map would be, with files that it names."""
    fields: frozenset[str] = FIELDS
    """The fields of a thing that the source keeps; `name` has to be among them."""
    longest: int = 200_000
    """Most characters of `name`, or of `note` if it is kept."""
    many: int = 1_000
    """How many things the larger tests make."""
    patience: float = 30.0
    """Seconds within which a change must have come."""

    def put(self, things: Mapping[str, Thing]) -> None:
        """Makes these things, or changes them: id -> thing. At once, as far as the source can."""
        raise NotImplementedError

    def remove(self, id: str) -> None:
        """Deletes a thing."""
        raise NotImplementedError

    def spoil(self, id: str) -> None:  # noqa: ARG002 - for those who override it
        """Makes something that can't become canonical of this thing; `put` fixes it. Skips."""
        pytest.skip("this source doesn't say how to spoil a record")

    def broken(self) -> AbstractContextManager[None]:
        """The source can't be reached while the block lasts. Skips."""
        pytest.skip("this source doesn't say how to break it")

    def ids(self, count: int) -> list[str]:
        """Ids that the source may use, as Sorbus will have them."""
        return [str(number) for number in range(1, count + 1)]

    def system(self) -> BoundSystem:
        """The system, as the map would give it."""
        connection = self.connector.Connection.model_validate(self.connection)
        return BoundSystem("source", System(kind="source", owner="Sales"), connection, self.topic_prefix, self.folder)

    def sources(self) -> list[BoundSource]:
        """The one data type of it."""
        options = self.connector.Source.model_validate(self.options)
        data_type = DataType(system_of_record="source")
        return [BoundSource(NAME, data_type, SCHEMA, rows("source", self.mapping, into=False), options)]

    def prepare(self) -> list[str]:
        """What `sorbus apply` does; says what that was."""
        steps = self.connector.plan(self.system(), self.sources())
        for step in steps:
            if step.apply:
                step.apply()
        return [f"{step.where}: {step.what}" for step in steps]

    def producer(self) -> Producer:
        """A new producer, not opened."""
        return self.connector(self.system(), self.sources())
