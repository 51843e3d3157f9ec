"""Keeps the index of topics up to date in the background, so that a person who asks never waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from sorbus.bus.names import Names
from sorbus.errors import SorbusError
from sorbus.map.loaded import LoadedMap
from sorbus.ops.trace.key_index import KeyIndex
from sorbus.settings import Settings
from sorbus.state.database import State

_EVERY = 60.0
_PACE = 0.1
"""Seconds of pause after each stretch of 16,384 events: a tenth of what reading at full speed would take of a core."""
_log = logging.getLogger(__name__)


class IndexKeeper:
    """A thread while its block runs. `loaded` is asked each time, since the map may change."""

    def __init__(self, loaded: Callable[[], LoadedMap], settings: Settings, state: State) -> None:
        self._loaded, self._settings, self._state = loaded, settings, state
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="index", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_ending.set()

    def _run(self) -> None:
        while not self._is_ending.wait(_EVERY):
            company = self._loaded().map
            for data_type in company.data_types:
                if self._is_ending.is_set():
                    return
                topic = Names(company.topic_prefix).topic(data_type)
                try:
                    KeyIndex(self._settings, self._state, topic).extend(pace=_PACE)
                except SorbusError as error:
                    _log.info("the index of %s is not up to date: %s", topic, error)
                except Exception:  # noqa: BLE001 - what one topic holds keeps no other from its index
                    _log.exception("the index of %s is not up to date", topic)
