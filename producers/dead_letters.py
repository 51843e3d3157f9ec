"""A producer's dead letters: rows that can't become canonical, one letter per record, until its next good state."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sorbus.bus.names import Names
from sorbus.bus.publisher import Publisher
from sorbus.bus.stale_records import OpenLetter, open_source_letters
from sorbus.connector import Batch, BoundSource, BoundSystem, Change, RejectedRecord, producer_connector
from sorbus.deadletter import CLOSED, CLOSED_BY, DeadLetter
from sorbus.errors import PermanentError
from sorbus.privacy.errors import source_privacy
from sorbus.settings import Settings
from sorbus.telemetry.metrics import ProducerMetrics

_log = logging.getLogger(__name__)


class SourceDeadLetters:
    """One system's letters. What is written or closed is part of the transaction in progress."""

    def __init__(
        self, settings: Settings, system: BoundSystem, sources: Sequence[BoundSource], metrics: ProducerMetrics
    ) -> None:
        self._settings, self._metrics = settings, metrics
        self._system, self._names = system.name, Names(system.topic_prefix)
        resources_of = producer_connector(system.system.kind).resources_of
        self._privacy = {each.name: source_privacy(each, resources_of(each.options)) for each in sources}
        self._open: dict[str, dict[bytes, OpenLetter]] = {}
        self._former: list[tuple[str, bytes]] = []
        self._versions: dict[tuple[str, bytes], int] = {}

    def load(self) -> None:
        """Reads which letters are open. TransientError when Kafka is out of reach."""
        topics = [self._names.dead_letters(data_type) for data_type in self._privacy]
        self._versions = {}
        self._open, self._former = open_source_letters(self._settings, topics, self._system)

    def open_ids(self) -> dict[str, list[bytes]]:
        """Data type -> the ids of the records that have an open letter."""
        return {data_type: list(letters) for data_type, letters in self._open.items()}

    def open_of(self, data_type: str) -> Mapping[bytes, OpenLetter]:
        """The open letters of a data type, by the record's id."""
        return self._open.get(data_type, {})

    def older(self, data_type: str, version: int) -> list[bytes]:
        """The ids with open letters that weren't refused with this version or a newer one, as far as is known."""
        return [id for id in self.open_of(data_type) if self._versions.get((data_type, id), -1) < version]

    @property
    def has_former(self) -> bool:
        """Whether letters of systems that owned a data type before are open."""
        return bool(self._former)

    def close_former(self, publisher: Publisher) -> None:
        """Closes the letters of former owners: their records are no longer published."""
        for data_type, key in self._former:
            publisher.produce(self._names.dead_letters(data_type), key, None, [(CLOSED, b"superseded")])
        self._former = []

    def write(self, reject: RejectedRecord, publisher: Publisher) -> None:
        """Puts a letter into the transaction; it replaces an earlier one of the same record."""
        error = self._privacy[reject.data_type].error(reject.error, reject.id, reject.raw)
        letter = DeadLetter.refused(
            error,
            data_type=reject.data_type,
            system=self._system,
            origin=(self._names.topic(reject.data_type), -1, -1),
            record_id=reject.id,
            value=reject.raw,
            id=self._letter_id(reject.data_type, reject.id),
        )
        known = self._open.setdefault(reject.data_type, {})
        if before := known.get(reject.id):
            letter = letter.again(*before)
        known[reject.id] = OpenLetter(letter.attempts, letter.first_at)
        self._versions[reject.data_type, reject.id] = reject.version
        topic, key = self._names.dead_letters(reject.data_type), letter.id.encode()
        try:
            publisher.produce(topic, key, letter.value, letter.to_headers())
        except PermanentError as too_large:
            letter = replace(letter, value=b"", message=f"{letter.message} (without the raw row: {too_large})")
            publisher.produce(topic, key, letter.value, letter.to_headers())
        self._metrics.rejected(reject.data_type, error.reason)
        _log.warning("%s %s of %s is a dead letter: %s", reject.data_type, _shown(reject.id), self._system, error)

    def concern(self, changes: Sequence[Change]) -> bool:
        """Whether one of these records has an open letter."""
        return any(change.id in self._open.get(change.data_type, ()) for change in changes)

    def supersede(self, changes: Sequence[Change], publisher: Publisher) -> None:
        """Closes the letters of records whose new states are in the same transaction."""
        for data_type, letters in self._open.items():
            if not letters:
                continue
            versions = {change.id: change.version for change in changes if change.data_type == data_type}
            for id in letters.keys() & versions.keys():
                self._close(data_type, id, publisher, [(CLOSED_BY, str(versions[id]).encode())])

    def resolve(self, resolved: Sequence[tuple[str, bytes]], publisher: Publisher) -> None:
        """Closes the letters of rows that were no records and have changed or gone: (data type, id)."""
        for data_type, id in resolved:
            if id in self._open.get(data_type, ()):
                self._close(data_type, id, publisher, [])

    def _close(self, data_type: str, id: bytes, publisher: Publisher, by: list[tuple[str, bytes]]) -> None:
        key = self._letter_id(data_type, id).encode()
        publisher.produce(self._names.dead_letters(data_type), key, None, [(CLOSED, b"superseded"), *by])
        del self._open[data_type][id]
        self._versions.pop((data_type, id), None)

    def _letter_id(self, data_type: str, id: bytes) -> str:
        return f"{self._system}:{data_type}:{_shown(id)}"


def still_rejected(batch: Batch) -> list[RejectedRecord]:
    """The rejects that no newer good state of the same record in the same batch has made obsolete."""
    if not batch.rejects:
        return []
    newest = {(change.data_type, change.id): change.version for change in batch.changes}
    return [reject for reject in batch.rejects if newest.get((reject.data_type, reject.id), -1) < reject.version]


def _shown(id: bytes) -> str:
    return id.decode(errors="backslashreplace")
