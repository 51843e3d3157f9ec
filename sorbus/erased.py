"""Records that `sorbus forget` has erased: what topics still hold of them is not delivered again.

A topic keeps superseded states until they are compacted. A replay, a new flow or one that reads its topic again would
bring them back where a delete leaves a row: `deletes: soft` and `ignore`. What was written long after an
erasure is none of them, whatever its version: versions begin again where all of Kafka was lost. The state database has
the receipts, and the controls topic, which forgets nothing, the same without ids: either may be restored to before.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import cast

from confluent_kafka import OFFSET_BEGINNING, Message

from sorbus.avro.decode import Undecodable
from sorbus.bus.controls import ERASED
from sorbus.bus.kafka import all_partitions, bytes_of, read_to_end, topic_reader
from sorbus.bus.names import Names
from sorbus.bus.sending import Single
from sorbus.errors import SorbusError
from sorbus.event import open_frame
from sorbus.settings import Settings
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


def erased_message(names: Names, data_type: str, id: str, version: int, at: float) -> Single:
    """Keeps it in Kafka that a record was erased, up to this version: the state may be restored to before.

    It names the record by a hash. `at`: seconds since 1970.
    """
    said = json.dumps({"version": version, "at": at}).encode()
    return Single(names.controls, _key(data_type, id.encode()), said)


def _key(data_type: str, id: bytes) -> bytes:
    return f"{ERASED}{data_type} {sha256(id).hexdigest()}".encode()


class ErasedRecords:
    """One data type's, by the state database and by Kafka, as far as there are such."""

    def __init__(self, state: State | None, settings: Settings, names: Names, data_type: str) -> None:
        self._state, self._settings, self._names, self._data_type = state, settings, names, data_type
        self._erased: Mapping[bytes, tuple[int, float]] = {}
        """Id -> the version that was erased last, and when (seconds since 1970)."""
        self._lost: Mapping[bytes, tuple[int, float]] = {}
        """The same of what the state doesn't know, by the keys of its messages."""
        self._read_at: float | None = None

    def read(self) -> None:
        """Reads which they are. TransientError, AuthError."""
        self._lost = self._kept()
        if self._state is not None:
            rows = cast("list[tuple[str, int, float]]", self._state.run(_ERASED, [self._data_type]))
            self._erased = {id.encode(): (version, at) for id, version, at in rows}
            known = {_key(self._data_type, id): at for id, (_, at) in self._erased.items()} if self._lost else {}
            self._lost = {key: kept for key, kept in self._lost.items() if kept[1] > known.get(key, 0.0) + _FRESH}

    def _kept(self) -> dict[bytes, tuple[int, float]]:
        reader = topic_reader(self._settings, "erased", wait_ms=100)
        begin, found = f"{ERASED}{self._data_type} ".encode(), dict[bytes, tuple[int, float]]()
        try:
            partitions = all_partitions(reader, self._names.controls, OFFSET_BEGINNING)
            for message in read_to_end(reader, partitions) if partitions else ():
                if (key := bytes_of(message.key())).startswith(begin) and (value := message.value()):
                    try:
                        said = json.loads(value)
                        found[key] = int(said["version"]), float(said["at"])
                    except (ValueError, KeyError, TypeError) as error:  # written by a person, or another release
                        _log.warning("what %r on %s says is not known: %s", key, self._names.controls, error)
        finally:
            reader.close()
        return found

    def without(self, messages: Iterable[Message]) -> list[Message]:
        """The messages but states of erased records, up to the version that was erased. Their deletes stay."""
        return [message for message in messages if not self._is_erased(message)]

    def without_known(self, messages: Sequence[Message]) -> Sequence[Message]:
        """The same for a process that runs on: it looks again while old messages come, and doesn't wait for the state
        database, which records travel without.
        """
        is_old = bool(messages) and time.time() - messages[0].timestamp()[1] / 1000 > _FRESH
        if self._read_at is None or (is_old and time.monotonic() - self._read_at > _FRESH):
            self._read_at = time.monotonic()
            try:
                self.read()
            except SorbusError as error:
                _log.warning("records of %s that were erased since are not left out: %s", self._data_type, error)
        if not (self._erased or self._lost):
            return messages
        kept = self.without(messages)
        if left_out := len(messages) - len(kept):
            _log.info("%d states of erased records of %s are left out", left_out, self._data_type)
        return kept

    def covers(self, id: bytes, version: int) -> bool:
        """Whether this version of a record is one that was erased."""
        found = self._found(id)
        return found is not None and version <= found[0]

    def _found(self, id: bytes) -> tuple[int, float] | None:
        lost = self._lost.get(_key(self._data_type, id)) if self._lost else None
        return lost or self._erased.get(id)

    def _is_erased(self, message: Message) -> bool:
        key, value = bytes_of(message.key()), message.value()
        found = None if value is None else self._found(key)
        if found is None or message.timestamp()[1] / 1000 > found[1] + _CLOCKS:
            return False
        try:
            head = open_frame(bytes_of(value))
        except Undecodable:
            return False
        return not head.deleted and self.covers(key, head.version)
