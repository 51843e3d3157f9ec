"""Which schema each frame's head stands for, kept beside the events themselves, on a compacted topic.

A registry that was emptied gives its ids out again, and its backup may be older than the events. Here an id keeps its
first meaning: producers write it before the first event that bears it, and every reader asks here first.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

from confluent_kafka import Message

from sorbus.bus.kafka import (
    all_partitions,
    bytes_of,
    idempotent_producer,
    offset_of,
    partition_of,
    read_to_end,
    topic_reader,
)
from sorbus.bus.names import Names
from sorbus.bus.sending import Single, send
from sorbus.errors import SchemaError, TransientError
from sorbus.event import record_inside
from sorbus.schema import RecordSchema, parse_schema
from sorbus.settings import Settings

_log = logging.getLogger(__name__)


class WrittenSchema(NamedTuple):
    """A schema that events were written with: its subject, the registered envelope, the record inside."""

    subject: str
    text: str
    record: RecordSchema


class SchemaHistory:
    """A map's schemas by frame head; thread-safe. What was read once never changes, so it is kept in memory."""

    def __init__(self, settings: Settings, names: Names) -> None:
        self._settings, self._names = settings, names
        self._lock = threading.Lock()
        self._found: dict[bytes, dict[str, WrittenSchema]] = {}
        self._foreign: set[tuple[bytes, bytes]] = set()

    def schema(self, prefix: bytes) -> WrittenSchema | None:
        """What was written under a frame's head; None if it is not known here. SchemaError, TransientError."""
        return self._only(prefix) or (self._only(prefix) if self.read() else None)

    def known(self) -> dict[bytes, dict[str, WrittenSchema]]:
        """What was read before; read, if nothing was. TransientError."""
        return self._found or self.read()

    def read(self) -> dict[bytes, dict[str, WrittenSchema]]:
        """All that is on the topic: head -> encoding -> schema, oldest first; empty without it. TransientError."""
        with self._lock:
            reader = topic_reader(self._settings, "schemas")
            try:
                partitions = all_partitions(reader, self._names.schemas)
                for message in read_to_end(reader, partitions) if partitions else ():
                    if (found := self._opened(message)) is not None:
                        head, written = found
                        self._found.setdefault(head, {})[written.record.encoding] = written
            finally:
                reader.close()
            return self._found

    def of_subject(self, subject: str) -> list[WrittenSchema]:
        """A subject's schemas as far as they are `known`, oldest first. TransientError."""
        found = [each for same in self.known().values() for each in same.values() if each.subject == subject]
        return list({each.text: each for each in found}.values())

    def add(self, entries: Iterable[tuple[bytes, WrittenSchema]]) -> None:
        """Keeps what heads stand for; when this returns, Kafka has it. TransientError."""
        new = [(head, each) for head, each in entries if each.record.encoding not in self._found.get(head, {})]
        if not new:
            return
        messages = []
        for head, each in new:
            key = f"{head.hex()}/{sha256(each.record.encoding.encode()).hexdigest()[:16]}"
            value = json.dumps({"subject": each.subject, "schema": each.text})
            messages.append(Single(self._names.schemas, key.encode(), value.encode()))
        reader = topic_reader(self._settings, "schemas")
        try:
            if not all_partitions(reader, self._names.schemas):
                raise TransientError(f"there is no topic {self._names.schemas} yet; run `sorbus apply`")
        finally:
            reader.close()
        send(idempotent_producer(self._settings, "schemas"), messages, f"keeping schemas in {self._names.schemas}")
        with self._lock:
            for head, each in new:
                self._found.setdefault(head, {})[each.record.encoding] = each

    def _opened(self, message: Message) -> tuple[bytes, WrittenSchema] | None:
        """A message's head and schema; None, said once, for what Sorbus didn't write: it must not stop all readers."""
        key, value = bytes_of(message.key()), bytes_of(message.value())
        try:
            head, entry = bytes.fromhex(key.partition(b"/")[0].decode()), json.loads(value)
            subject, text = str(entry["subject"]), str(entry["schema"])
            record = record_inside(parse_schema(text, where=f"{self._names.schemas}: {head.hex()}"))
        except (ValueError, KeyError, TypeError, SchemaError) as error:
            if (key, value) not in self._foreign:
                self._foreign.add((key, value))
                _log.warning(
                    "%s holds a message that no release of Sorbus wrote, and is read without it: key %r, offset %d of"
                    " partition %d (%s)",
                    self._names.schemas,
                    key[:100],
                    offset_of(message),
                    partition_of(message)[1],
                    error,
                )
            return None
        return head, WrittenSchema(subject, text, record)

    def _only(self, head: bytes) -> WrittenSchema | None:
        same = self._found.get(head, {})
        if len(same) > 1:
            said = " and ".join(f"{each.subject} ({', '.join(each.record.by_name)})" for each in same.values())
            raise SchemaError(
                f"events with the head {head.hex()} were written with different schemas: {said}. Nothing tells which"
                " event has which, so none is decoded: see docs/runbooks/registry-emptied.md"
            )
        return next(iter(same.values()), None)


_opened: dict[tuple[str, str], SchemaHistory] = {}


def schema_history(settings: Settings, names: Names) -> SchemaHistory:
    """The history of a map's schemas, one per process."""
    key = settings.kafka, names.schemas
    if key not in _opened:
        _opened.setdefault(key, SchemaHistory(settings, names))
    return _opened[key]
