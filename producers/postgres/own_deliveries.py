"""Which of a stream's changes Sorbus itself has made: its transactions carry notes of the records that they wrote."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from sorbus.bus.names import Names
from sorbus.connector import Change
from sorbus.postgres.delivery_note import Delivered


class OwnDeliveries:
    """Of one batch. `names`: of the data types' topics."""

    def __init__(self, data_types: Iterable[str], names: Names) -> None:
        self._by_topic = {names.topic(name): name for name in data_types}
        self._notes: dict[str, Delivered] = {}
        self._from = 0
        self._found: dict[tuple[str, bytes, int], int] = {}

    def begin(self, count: int) -> None:
        """A transaction begins; `count`: the changes before it."""
        self._notes, self._from = {}, count

    def noted(self, topic: str, delivered: Delivered) -> None:
        """It is Sorbus's own, of these records."""
        if (name := self._by_topic.get(topic)) is not None:
            self._notes[name] = {**self._notes.get(name, {}), **delivered}

    def label(self, changes: Sequence[Change], later: Container[int]) -> None:
        """Of what has come of it: not of those, by their places in `changes`, whose rows are read later."""
        if not self._notes:
            return
        for place, change in enumerate(changes[self._from :], self._from):
            brought = self._notes.get(change.data_type, {}).get(change.id)
            if brought is not None and place not in later:
                self._found[change.data_type, change.id, change.version] = brought
        self._from = len(changes)

    def take(self) -> dict[tuple[str, bytes, int], int]:
        """Data type, id and version of those found, with the versions that they were delivered as."""
        found, self._found, self._from = self._found, {}, 0
        return found
