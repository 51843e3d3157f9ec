"""How late what each flow has read is, noted when it commits, and kept on the controls topic, which forgets nothing.

Kafka forgets a consumer group's offsets a week after its last member has left (`offsets.retention.minutes`), and with
them how far behind a flow was; what a topic has forgotten meanwhile must be known still.
"""

from __future__ import annotations

import json
import logging
import time

from confluent_kafka import OFFSET_BEGINNING

from sorbus.bus.kafka import all_partitions, bytes_of, read_to_end, topic_reader
from sorbus.bus.names import Names
from sorbus.bus.status import tell
from sorbus.settings import Settings

_NOTED_EVERY = 3600.0
"""Seconds."""
READ_BY = "read by "
"""Begins the keys of these messages."""
_log = logging.getLogger(__name__)


class ReadTime:
    """One flow's."""

    def __init__(self, settings: Settings, names: Names, flow: str) -> None:
        self._settings, self._names = settings, names
        self._key = f"{READ_BY}{flow}".encode()
        self._noted_at: float | None = None

    def note(self, until: float) -> None:
        """Its offsets have just been committed, and what it has read is so late (`sorbus.bus.committed.read_until`).

        Written once an hour, by a process that reports its status.
        """
        now = time.monotonic()
        if self._noted_at is None or now - self._noted_at >= _NOTED_EVERY:
            self._noted_at = now
            said = json.dumps({"at": int(until)}).encode()
            tell(self._settings, self._names, self._names.controls, self._key, said)

    def last(self) -> float | None:
        """In seconds since 1970, an hour too early at most; None: never that is known. TransientError, AuthError."""
        reader = topic_reader(self._settings, "read-times", wait_ms=100)
        try:
            partitions = all_partitions(reader, self._names.controls, OFFSET_BEGINNING)
            said = [one.value() for one in read_to_end(reader, partitions) if bytes_of(one.key()) == self._key]
        finally:
            reader.close()
        try:
            return float(json.loads(bytes_of(said[-1]))["at"]) if said else None
        except (ValueError, KeyError, TypeError) as error:  # written by a person, or another release
            _log.warning("when it read last can't be told from %r on %s: %s", said[-1], self._names.controls, error)
            return None
