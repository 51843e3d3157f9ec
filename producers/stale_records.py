"""Deletes for the records of a topic that are no longer in their source: after a TRUNCATE, or a resnapshot."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

from sorbus.bus.stale_records import stale_keys
from sorbus.connector import Change, StaleRecordDeletion
from sorbus.settings import Settings

_CHUNK = 5000


def stale_deletes(
    settings: Settings, topic: str, deletion: StaleRecordDeletion, spared: Container[bytes], ends: Sequence[int]
) -> Iterator[list[Change]]:
    """In chunks, without the `spared` ids; what came before the deletion must be on the topic. TransientError.

    `ends`: where the topic's partitions end by now.
    """
    chunk: list[Change] = []
    for id in stale_keys(settings, topic, deletion.version, ends):
        if id in spared:
            continue
        chunk.append(Change(deletion.data_type, id, deletion.version, deletion.occurred_at, None))
        if len(chunk) >= _CHUNK:
            yield chunk
            chunk = []
    yield chunk
