"""Requeueing the dead letters of a record that a person has decided about."""

from __future__ import annotations

from collections.abc import Sequence

from sorbus.bus.names import Names
from sorbus.deadletter import DeadLetter
from sorbus.dlq.index import LetterIndex
from sorbus.dlq.requeue import Sender, send_back
from sorbus.dlq.store import LetterStore
from sorbus.errors import TransientError
from sorbus.mapfile.model import Map
from sorbus.settings import Settings
from sorbus.state.database import State


class RecordRequeue:
    """Requeues dead letters of a map's records."""

    def __init__(self, company: Map, settings: Settings, state: State) -> None:
        self._map, self._settings, self._state = company, settings, state
        self._names = Names(company.topic_prefix)

    def letters(self, system: str, data_type: str, id: str, resource: str = "") -> list[DeadLetter]:
        """The record's open letters on the way to `system`, or to one resource of it. TransientError."""
        flows = {
            flow.id
            for flow in self._map.flows
            if flow.runs
            and (flow.data_type, flow.to) == (data_type, system)
            and resource in ("", flow.target.get("resource", resource))
        }
        if not flows:
            return []
        index = LetterIndex(self._state, self._settings, self._names, [data_type])
        try:
            index.catch_up()
        finally:
            index.close()
        found = LetterStore(self._state).of_record(data_type, id)
        return [letter.dead for letter in found if letter.is_unsettled and letter.dead.flow in flows]

    def send(self, letters: Sequence[DeadLetter]) -> None:
        """Requeues them. TransientError when Kafka can't be reached; it says that the decision is saved."""
        try:
            send_back(Sender(self._settings, self._names), self._state, letters)
        except TransientError as error:
            ids = " ".join(letter.id for letter in letters)
            raise TransientError(
                f"the decision is written down, but {error}; later: sorbus dlq requeue {ids}"
            ) from error
