"""Which records a topic knows: proof that Sorbus once published them, without which nothing is deleted in a target."""

from __future__ import annotations

from collections.abc import Collection

from sorbus.bus.kafka import all_partitions, bytes_of, kafka_errors, read_to_end, topic_reader
from sorbus.settings import Settings


class PublishedRecords:
    """A topic's records, among some; it is read once, when it is first asked."""

    def __init__(self, settings: Settings, topic: str, among: Collection[str]) -> None:
        self._settings, self._topic, self._among = settings, topic, among
        self._found: frozenset[str] | None = None

    def of(self, ids: Collection[str]) -> frozenset[str]:
        """Those of which the topic holds an event, be it a delete. TransientError, AuthError."""
        if self._found is None:
            self._found = self._read()
        return self._found.intersection(ids)

    def _read(self) -> frozenset[str]:
        wanted = {id.encode("utf-8", "surrogateescape"): id for id in self._among}
        reader = topic_reader(self._settings, "reconcile-published")
        try:
            messages = read_to_end(reader, all_partitions(reader, self._topic))
            keys = {key for message in messages if (key := bytes_of(message.key())) in wanted}
        finally:
            with kafka_errors("closing a reader"):
                reader.close()
        return frozenset(wanted[key] for key in keys)
