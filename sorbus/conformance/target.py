"""What the suite must know about a target: the author of a connector subclasses this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import pytest

from sorbus.conformance.sample_type import FIELDS, NAME, SCHEMA, Thing, rows
from sorbus.connector import BoundFlow, BoundSystem, Consumer, ConsumerConnector
from sorbus.mapfile.model import DataType, Flow, System


class Target:
    """An empty target of things. Methods that say "skips" are optional: tests that need them are skipped."""

    connector: ConsumerConnector
    """The connector's class."""
    connection: Mapping[str, object] = {}
    """The system's `connection:` as a map would have it."""
    options: Mapping[str, object] = {}
    """The flow's `target:` as a map would have it."""
    mapping: Sequence[tuple[str, str, str]] = ()
    """Rows of a mapping sheet: field of a thing, field of the target, rule. None: same names."""
    data_type: Mapping[str, object] = {}
    """The data type's own keys, such as match."""
    deletes: Literal["hard", "soft", "ignore"] = "hard"
    folder: Path = Path()
    """Where the map would be, with the files that it names."""
    fields: frozenset[str] = FIELDS
    """The fields of a thing that the target stores; must include `name`."""
    ids: tuple[str, ...] = ("1", "a-b", "O'Hara/ü 2", "日本", "A", "a", "00012")
    """Ids that must stay distinct."""
    longest: int = 200_000
    """Maximum characters of `name`, and of `note` if it is stored."""
    many: int = 1_000
    """How many things the larger tests send."""

    def read(self) -> Mapping[str, Thing]:
        """Everything in the target now: id -> thing, in the suite's Python types. Reads without Sorbus."""
        raise NotImplementedError

    def broken(self) -> AbstractContextManager[None]:
        """The target can't be reached during the block. Skips."""
        pytest.skip("this target doesn't say how to break it")

    def refused(self) -> Thing:
        """A thing that the target permanently rejects because of its content. Skips."""
        pytest.skip("this target doesn't say what it rejects")

    def damage(self, id: str) -> None:  # noqa: ARG002 - for subclasses that override it
        """Edits a field of this record in the target. Skips."""
        pytest.skip("this target doesn't say how to damage it")

    def writes(self) -> int:
        """How many writes the target has seen so far. Skips."""
        pytest.skip("this target doesn't count its writes")

    def flow(self) -> BoundFlow:
        """The flow into it, as the map would give it."""
        connector = self.connector
        name = "target"
        system = System(kind=name, owner="Operations")
        bound = BoundSystem(name, system, connector.Connection.model_validate(self.connection), "", self.folder)
        flow = Flow.model_validate({"data_type": NAME, "from": "suite", "to": name, "deletes": self.deletes})
        data_type = DataType.model_validate({"system_of_record": "suite", **self.data_type})
        options = connector.Target.model_validate(self.options)
        return BoundFlow(flow, data_type, SCHEMA, rows(name, self.mapping, into=True), options, bound)

    def prepare(self) -> list[str]:
        """Does what `sorbus apply` does; returns the steps."""
        steps = self.connector.plan(self.flow())
        for step in steps:
            if step.apply:
                step.apply()
        return [f"{step.where}: {step.what}" for step in steps]

    def consumer(self) -> Consumer:
        """A new consumer, not yet opened."""
        return self.connector(self.flow())
