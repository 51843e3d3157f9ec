"""What the suite must know about a source: the author of a connector subclasses this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from sorbus.conformance.sample_type import FIELDS, NAME, SCHEMA, Thing, rows
from sorbus.connector import BoundSource, BoundSystem, Producer, ProducerConnector
from sorbus.mapfile.model import DataType, System


class Source:
    """An empty source of things. Methods that say "skips" are optional: tests that need them are skipped."""

    connector: ProducerConnector
    """The connector's class."""
    connection: Mapping[str, object] = {}
    """The system's `connection:` as a map would have it."""
    options: Mapping[str, object] = {}
    """The data type's `source:` as a map would have it."""
    mapping: Sequence[tuple[str, str, str]] = ()
    """Rows of a mapping sheet: field of a thing, field of the source, rule. None: same names."""
    topic_prefix: str = ""
    folder: Path = Path()
    """Where the map would be, with the files that it names."""
    fields: frozenset[str] = FIELDS
    """The fields of a thing that the source stores; must include `name`."""
    longest: int = 200_000
    """Maximum characters of `name`, and of `note` if it is stored."""
    many: int = 1_000
    """How many things the larger tests create."""
    patience: float = 30.0
    """Seconds within which a change must arrive."""

    def put(self, things: Mapping[str, Thing]) -> None:
        """Creates or changes these things: id -> thing. At once, as far as the source can."""
        raise NotImplementedError

    def remove(self, id: str) -> None:
        """Deletes a thing."""
        raise NotImplementedError

    def spoil(self, id: str) -> None:  # noqa: ARG002 - for subclasses that override it
        """Changes a thing so that it can't be made canonical; `put` fixes it. Skips."""
        pytest.skip("this source doesn't say how to invalidate a record")

    def broken(self) -> AbstractContextManager[None]:
        """The source can't be reached during the block. Skips."""
        pytest.skip("this source doesn't say how to break it")

    def ids(self, count: int) -> list[str]:
        """Ids that the source accepts, as Sorbus will have them."""
        return [str(number) for number in range(1, count + 1)]

    def system(self) -> BoundSystem:
        """The system, as the map would give it."""
        connection = self.connector.Connection.model_validate(self.connection)
        return BoundSystem("source", System(kind="source", owner="Sales"), connection, self.topic_prefix, self.folder)

    def sources(self) -> list[BoundSource]:
        """Its only data type."""
        options = self.connector.Source.model_validate(self.options)
        data_type = DataType(system_of_record="source")
        return [BoundSource(NAME, data_type, SCHEMA, rows("source", self.mapping, into=False), options)]

    def prepare(self) -> list[str]:
        """Does what `sorbus apply` does; returns the steps."""
        steps = self.connector.plan(self.system(), self.sources())
        for step in steps:
            if step.apply:
                step.apply()
        return [f"{step.where}: {step.what}" for step in steps]

    def producer(self) -> Producer:
        """A new producer, not yet opened."""
        return self.connector(self.system(), self.sources())
