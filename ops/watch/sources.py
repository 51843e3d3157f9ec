"""What each source holds back for its producer, asked of the source, so that it shows when the producer is dead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from sorbus.connector import Producer, producer_connector
from sorbus.errors import SorbusError

if TYPE_CHECKING:
    from sorbus.map.load import LoadedMap

_log = structlog.get_logger(__name__)


class SourceLags:
    """Asks every system of record of a map; a source that can't be asked is unknown (None), and the log says why."""

    def __init__(self, loaded: LoadedMap) -> None:
        self._loaded = loaded
        self._systems = [name for name in loaded.map.systems if loaded.map.owned_by(name)]
        self._producers: dict[str, Producer] = {}
        self._unknown: dict[str, str] = {}

    def __call__(self) -> dict[str, int | None]:
        return {system: self._ask(system) for system in self._systems}

    def close(self) -> None:
        for producer in self._producers.values():
            producer.close()
        self._producers.clear()

    def _ask(self, system: str) -> int | None:
        try:
            producer = self._producers.get(system)
            if producer is None:
                bound = self._loaded.system(system)
                connector = producer_connector(bound.system.kind)
                producer = self._producers[system] = connector(bound, self._loaded.sources(system))
            lag = producer.lag()
        except SorbusError as error:
            self._say(system, str(error))
            if (broken := self._producers.pop(system, None)) is not None:
                broken.close()
            return None
        self._unknown.pop(system, None)
        return lag

    def _say(self, system: str, reason: str) -> None:
        """Once per reason, not once per measurement."""
        if self._unknown.get(system) != reason:
            self._unknown[system] = reason
            _log.warning("what the source holds back can't be told", system=system, reason=reason)
