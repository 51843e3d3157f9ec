"""Records that `sorbus forget` has erased: what topics still hold of them is not delivered again.

A topic keeps superseded states until they are compacted. A replay, a new flow or one that reads its topic again would
bring them back where a delete leaves a row: `deletes: soft` and `ignore`. What was written long after an
erasure is none of them, whatever its version: versions begin again where all of Kafka was lost.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from confluent_kafka import Message

from sorbus.avro.decode import Undecodable
from sorbus.bus.kafka import bytes_of
from sorbus.errors import SorbusError
from sorbus.event import open_frame
from sorbus.state.database import State

_ERASED = b"""
select distinct on (id) id, (receipt ->> 'version')::bigint, extract(epoch from at)::float8 from erasure
where data_type = %s and receipt ->> 'version' is not null
order by id, at desc
"""
_CLOCKS = 86_400.0
"""Seconds by which the clocks of producers may be wrong: what was written later than that was made later."""
_FRESH = 60.0
"""Seconds: an older message may be of a record that was erased since; how long what was read counts as known."""
_log = logging.getLogger(__name__)


class ErasedRecords:
    """One data type's. Without a state database there are none."""

    def __init__(self, state: State | None, data_type: str) -> None:
        self._state, self._data_type = state, data_type
        self._erased: Mapping[bytes, tuple[int, float]] = {}
        """Id -> the version that was erased last, and when (seconds since 1970)."""
        self._read_at: float | None = None

    def read(self) -> None:
        """Reads which they are. TransientError, AuthError."""
        if self._state is not None:
            rows = cast("list[tuple[str, int, float]]", self._state.run(_ERASED, [self._data_type]))
            self._erased = {id.encode(): (version, at) for id, version, at in rows}

    def without(self, messages: Iterable[Message]) -> list[Message]:
        """The messages but states of erased records, up to the version that was erased. Their deletes stay."""
        return [message for message in messages if not self._is_erased(message)]

    def without_known(self, messages: Sequence[Message]) -> Sequence[Message]:
        """The same for a process that runs on: it looks again while old messages come, and doesn't wait for the state
        database, which records travel without.
        """
        if self._state is None:
            return messages
        is_old = bool(messages) and time.time() - messages[0].timestamp()[1] / 1000 > _FRESH
        if self._read_at is None or (is_old and time.monotonic() - self._read_at > _FRESH):
            self._read_at = time.monotonic()
            try:
                self.read()
            except SorbusError as error:
                _log.warning("records of %s that were erased since are not left out: %s", self._data_type, error)
        if not self._erased:
            return messages
        kept = self.without(messages)
        if left_out := len(messages) - len(kept):
            _log.info("%d states of erased records of %s are left out", left_out, self._data_type)
        return kept

    def covers(self, id: bytes, version: int) -> bool:
        """Whether this version of a record is one that was erased."""
        return id in self._erased and version <= self._erased[id][0]

    def _is_erased(self, message: Message) -> bool:
        key, value = bytes_of(message.key()), message.value()
        if value is None or key not in self._erased or message.timestamp()[1] / 1000 > self._erased[key][1] + _CLOCKS:
            return False
        try:
            head = open_frame(bytes_of(value))
        except Undecodable:
            return False
        return not head.deleted and self.covers(key, head.version)
