"""The map that the console is about, read again when it has changed; its measurements and dead letters."""

from __future__ import annotations

from collections.abc import Sequence

from sorbus.dlq.service import DeadLetterService
from sorbus.errors import MapError, SorbusError
from sorbus.map.checks.check import check
from sorbus.map.load import load_map
from sorbus.map.loaded import LoadedMap
from sorbus.ops.decisions.kind import DecisionKind
from sorbus.ops.monitoring.build_monitor import open_watch
from sorbus.ops.monitoring.measure import Measurement, Watch
from sorbus.settings import Settings
from sorbus.state import State


class Company:
    """One thread refreshes and measures; pages read `loaded` and `letters`, which are replaced as a whole."""

    def __init__(self, loaded: LoadedMap, settings: Settings, state: State, kinds: Sequence[DecisionKind]) -> None:
        self.loaded, self._settings, self._state, self._kinds = loaded, settings, state, kinds
        self.letters = DeadLetterService(loaded, settings, state)
        self._watch: Watch | None = None

    def refresh(self) -> None:
        """Takes the map as now written. SorbusError when it isn't sound: the one before stays in use."""
        try:
            if not self.loaded.has_changed():
                return
        except OSError as error:
            raise SorbusError(f"{self.loaded.file} can't be read: {error.strerror}") from error
        found = load_map(self.loaded.file)
        if findings := check(found):
            raise MapError(findings)
        if found.map.topic_prefix != self.loaded.map.topic_prefix:
            raise SorbusError(
                "map.yaml has another topic_prefix now, and so other topics and state: restart the console"
            )
        self.close()
        self.loaded = found
        self.letters = DeadLetterService(found, self._settings, self._state)

    def catch_up(self) -> int:
        """Reads dead letters on into their index; how many messages that were."""
        return self.letters.index.catch_up()

    def measure(self) -> Measurement:
        """Looks once at everything that the map runs. AuthError, TransientError when Kafka can't be asked."""
        if self._watch is None:
            self._watch = open_watch(self.loaded, self._settings, self._kinds)
        return self._watch.measure()

    def close(self) -> None:
        """Gives connections back; measuring opens them again."""
        self.letters.index.close()
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()
