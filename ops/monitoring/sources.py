"""What each source holds back for its producer, asked of the source, so that it shows when the producer is dead."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from sorbus.connector import Producer, producer_connector
from sorbus.errors import AuthError, SorbusError
from sorbus.failover import SupportsFailover

if TYPE_CHECKING:
    from sorbus.map.loaded import LoadedMap

_STANDBYS_EVERY = 30.0
_AT_ONCE = 16
_log = logging.getLogger(__name__)


class SourceLags:
    """Asks every system of record what it holds back: None where it can't be asked, nothing where nothing is held.

    Applications behind HTTP hold nothing. A refused login isn't tried again: that could lock the account. All are asked
    side by side: those that don't answer cost the time of one.
    """

    def __init__(self, loaded: LoadedMap) -> None:
        self._loaded = loaded
        self._systems = [name for name in loaded.map.systems if loaded.map.owned_by(name)]
        self._producers: dict[str, Producer] = {}
        self.refused: dict[str, float] = {}
        """System -> when it refused the login (seconds since 1970)."""
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="sources")
        self.away: dict[str, tuple[float, str]] = {}
        """System -> since when it can't be asked (seconds since 1970), and why."""
        self.standbys: dict[str, tuple[str, ...]] = {}
        """System with known standbys -> why they could not take over; nothing where they could."""
        self._standbys_at = -_STANDBYS_EVERY

    def __call__(self) -> dict[str, int | None]:
        found = dict(zip(self._systems, self._pool.map(self._ask, self._systems), strict=True))
        if time.monotonic() - self._standbys_at >= _STANDBYS_EVERY:
            self._standbys_at = time.monotonic()
            list(self._pool.map(self._ask_standbys, self._systems))
        return {system: lag for system, lag in found.items() if lag is not None or system in self.away}

    def try_again(self, system: str) -> None:
        """The login may be tried once more."""
        self.refused.pop(system, None)

    def close(self) -> None:
        self._pool.shutdown()
        for producer in self._producers.values():
            producer.close()
        self._producers.clear()

    def _ask(self, system: str) -> int | None:
        if system in self.refused:
            return None
        try:
            producer = self._producers.get(system)
            if producer is None:
                bound = self._loaded.system(system)
                connector = producer_connector(bound.system.kind)
                producer = self._producers[system] = connector(bound, self._loaded.sources(system))
            lag = producer.lag()
        except SorbusError as error:
            if isinstance(error, AuthError) and error.lockout:
                self.refused[system] = time.time()
            self._give_up(system, str(error))
            return None
        except Exception as error:  # noqa: BLE001  # a connector's own fault leaves the others measured
            if system not in self.away:
                _log.exception("the connector of %s fails", system)
            self._give_up(system, f"its connector fails when it is asked what waits: {type(error).__name__}: {error}")
            return None
        self.away.pop(system, None)
        return lag

    def _give_up(self, system: str, reason: str) -> None:
        self._note(system, reason)
        if (broken := self._producers.pop(system, None)) is None:
            return
        try:
            broken.close()
        except Exception:  # noqa: BLE001  # it is given up
            _log.info("the connector of %s fails when it is closed", system, exc_info=True)

    def _ask_standbys(self, system: str) -> None:
        connector: object = self._loaded.producer(system)
        if system in self.refused or system in self.away or not isinstance(connector, SupportsFailover):
            return
        try:
            faults = connector.standby_faults(self._loaded.system(system, "producer"))
        except SorbusError as error:  # the primary, of which `away` says it next time
            _log.info("the standbys of %s can't be asked for: %s", system, error)
            return
        except Exception:  # noqa: BLE001  # as in `_ask`
            _log.exception("the connector of %s fails", system)
            return
        if faults is not None:
            self.standbys[system] = tuple(faults)

    def _note(self, system: str, reason: str) -> None:
        since, known = self.away.get(system, (time.time(), ""))
        if known != reason:  # once per reason, not once per measurement
            _log.warning("replication lag of the source is unavailable", extra={"system": system, "reason": reason})
        self.away[system] = since, reason
