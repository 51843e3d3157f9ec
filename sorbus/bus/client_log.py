"""librdkafka's log lines within our log, each at most once a minute: it repeats some twenty times a second."""

from __future__ import annotations

import logging
import re
import time

_AGAIN_AFTER = 60.0
_MOST = 200
_CHANGING = re.compile(r"\[thrd:[^\]]*\]|rdkafka#\w+-\d+|after \d+ms")


class OnceAMinute(logging.Filter):
    """Drops a line if the same one, ignoring thread, client and milliseconds, was logged within the last minute."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write the line."""
        now, said = time.monotonic(), _CHANGING.sub("", record.getMessage())
        if now - self._said.get(said, -_AGAIN_AFTER) < _AGAIN_AFTER:
            return False
        if len(self._said) >= _MOST:
            self._said.clear()
        self._said[said] = now
        return True


LOGGER = logging.getLogger("librdkafka")
LOGGER.addFilter(OnceAMinute())
