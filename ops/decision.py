"""What follows when a person has decided about a record: its dead letters go back to the flows that refused it."""

from __future__ import annotations

from collections.abc import Sequence

from sorbus.bus.names import Names
from sorbus.deadletter import DeadLetter
from sorbus.dlq.requeue import requeue
from sorbus.dlq.review import open_letters
from sorbus.errors import TransientError
from sorbus.map.model import Map
from sorbus.settings import Settings


class Onward:
    """A map's way to send on what waited for a decision."""

    def __init__(self, company: Map, settings: Settings) -> None:
        self._map, self._settings, self._names = company, settings, Names(company.topic_prefix)

    def letters(self, system: str, data_type: str, id: str) -> list[DeadLetter]:
        """The record's open letters on the way to `system`. TransientError without Kafka."""
        flows = {flow.id for flow in self._map.flows if flow.runs and (flow.data_type, flow.to) == (data_type, system)}
        return [
            letter
            for letter in open_letters(self._settings, self._names, [data_type] if flows else [])
            if letter.flow in flows and letter.record_id.decode(errors="replace") == id
        ]

    def send(self, letters: Sequence[DeadLetter]) -> None:
        """Sends them back. TransientError, which says that the decision stands, without Kafka."""
        try:
            requeue(self._settings, self._names, letters)
        except TransientError as error:
            ids = " ".join(letter.id for letter in letters)
            raise TransientError(
                f"the decision is written down, but {error}; later: sorbus dlq requeue {ids}"
            ) from error
