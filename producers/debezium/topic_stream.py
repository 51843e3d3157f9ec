"""One data type's topic: its messages become changes, dead letters, or the end of all records."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import NamedTuple

from sorbus.bus.topic_reader import TopicMessage
from sorbus.connector import BoundSource, Change, RejectedRecord, StaleRecordDeletion
from sorbus.drift.watch import DriftWatch
from sorbus.errors import PermanentError, SorbusError
from sorbus.http_api.interface import Json
from sorbus.http_api.path import parse_path
from sorbus.mapping.errors import shown
from sorbus.mapping.filters.moment import placed
from sorbus.mapping.meaning import meaning_of
from sorbus.mapping.types import FLOAT, NUMBER
from sorbus.producers.debezium.change_event import AllGone, NoChange, Row, RowChange, event_of, id_of
from sorbus.producers.debezium.connect_values import UNAVAILABLE, Schema
from sorbus.producers.debezium.formats import Content, Formats
from sorbus.producers.debezium.options import DebeziumSource
from sorbus.producers.polling.json_shape import JsonShape, Reader
from sorbus.schema import Kind

_RAW = 20_000
_log = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """What a message means, None for nothing; whether it repeats a known state; whether it tells of a deleted row.

    `gone`: the deletion of the record that the row was until a column of `key:` changed.
    """

    found: Change | RejectedRecord | StaleRecordDeletion | None
    is_snapshot: bool = False
    is_delete: bool = False
    gone: Change | None = None


class TopicStream:
    """Reads one data type's messages."""

    def __init__(self, source: BoundSource, system: str) -> None:
        """MapError where the mapping doesn't fit."""
        options = source.options
        assert isinstance(options, DebeziumSource)
        self.name, self.options = source.name, options
        self.meaning = meaning_of(source, ("types", "time_zone"))
        self._kinds = {field.name: field.type.kind for field in source.schema.fields}
        self._schemaless = False
        probe = JsonShape(source, system, {"": options.resource}, {}, {})
        self._mapped: dict[str, str] = {}
        self._same: dict[str, str] = {}
        self.once: dict[str, int] = {}
        """Columns that fill fields of the same name -> when they were first there, in microseconds since 1970."""
        kinds: dict[str, Kind | None] = {}
        for each in probe.assignments:
            for path in {each.source or "", *(each.rule.uses if each.rule else ())} - {""}:
                kinds[path] = self._kinds.get(each.into) if each.rule is None else None
                if each.row is None:
                    self._same[path] = f"{each.into} = {path}"
                else:
                    made = f"{each.into} = {each.rule.text if each.rule else path}"
                    self._mapped[path] = "; ".join(filter(None, (self._mapped.get(path), made)))
        readers: dict[str, Reader] = {path: partial(self._read, path=path, kind=kind) for path, kind in kinds.items()}
        self._shape = JsonShape(source, system, {"": options.resource}, {}, readers)
        self._heads = {path: str(parse_path(path)[0]) for path in (*self._same, *self._mapped)}
        self._drift: DriftWatch | None = None
        self._columns: dict[str, str] = {}

    def remember(self, once: Mapping[str, int]) -> None:
        """What `once` was when the position was stored."""
        self.once = {path: at for path, at in once.items() if path in self._same}

    def begin(self, drift: DriftWatch) -> None:
        """From now on columns that come and go are shown in drift."""
        self._drift = drift

    def outcome(self, message: TopicMessage, version: int, formats: Formats) -> Outcome:
        """What a message means, with this version if it is a change. TransientError while the registry is away."""
        key: Content | None = None
        is_delete = message.value is None
        try:
            key = formats.read(message.key) if message.key is not None else None
            if message.value is None:
                id = id_of(key, None, self.options)
                return Outcome(Change(self.name, id, version, message.at, None), is_delete=True)
            event = event_of(formats.read(message.value), self.options)
            if isinstance(event, NoChange):
                return Outcome(None)
            occurred_at = event.occurred_at or message.at
            if isinstance(event, AllGone):
                return Outcome(StaleRecordDeletion(self.name, version, occurred_at))
            is_delete = event.row is None
            id = id_of(key, event.known, self.options)
            if event.row is None:
                return Outcome(Change(self.name, id, version, occurred_at, None), is_delete=True)
            was = self.id_before(event)
            gone = Change(self.name, was, version, occurred_at, None) if was not in (None, id) else None
        except PermanentError as error:
            return Outcome(self._rejected(message, key, version, error, None), is_delete=is_delete)
        except SorbusError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this message's, and no other may wait for it
            _log.exception("offset %d of %s can't be read", message.offset, self.options.topic)
            why = PermanentError(f"the message can't be read ({type(error).__name__})", reason="not canonical")
            return Outcome(self._rejected(message, key, version, why, None), is_delete=is_delete)
        try:
            data = self._encode(event.row, event.schema, message.at)
        except PermanentError as error:
            raw = json.dumps(_shown(event.row), default=str, ensure_ascii=False).encode(errors="replace")
            return Outcome(
                RejectedRecord(self.name, id, version, occurred_at, raw, error), event.is_snapshot, gone=gone
            )
        return Outcome(Change(self.name, id, version, occurred_at, data), event.is_snapshot, gone=gone)

    def id_before(self, event: RowChange) -> bytes | None:
        """With `key:`, the id that an updated row had before, where the message tells it."""
        if not self.options.key or event.before is None or event.row is None:
            return None
        try:
            return id_of(None, event.before, self.options)
        except PermanentError:
            return None

    def _encode(self, row: Row, schema: Schema | None, at: int) -> bytes:
        self._schemaless = schema is None
        for path in self._same:
            if self._heads[path] in row:
                self.once[path] = min(at, self.once.get(path, at))
        self._tell(row, schema)
        for path in self._mapped:
            if self._heads[path] not in row:
                self._hold(path)
        if "_id" not in row:  # a MongoDB document leaves out what it doesn't have
            for path, since in self.once.items():
                if self._heads[path] not in row and since < at:
                    self._hold(path)
        return self._shape.encode(row)

    def _read(self, value: Json, path: str, kind: Kind | None) -> object:
        if value is UNAVAILABLE:
            raise ValueError(
                f"the message doesn't have {path}, because it didn't change: have the database log whole rows"
                " (PostgreSQL: ALTER TABLE ... REPLICA IDENTITY FULL; Oracle: supplemental logging of all columns)"
            )
        if isinstance(value, datetime) and value.tzinfo is None and self.options.time_zone:
            return placed(value, self.options.time_zone)
        is_number = kind in NUMBER or kind in FLOAT
        if self._schemaless and is_number and isinstance(value, str) and path not in self.options.types:
            raise ValueError(
                f"{shown(value)} may be a number in base64 or in digits, and the message has no schema: write"
                f" `types: {{{path}: decimal(SCALE)}}` or `types: {{{path}: text}}` in {self.name}'s source"
            )
        return value

    def _hold(self, path: str) -> None:
        mapped = self._reads()
        if self._drift is not None:
            self._drift.held(self.name, self.options.resource, path, "", mapped)
        into = mapped[path].partition(" = ")[0]
        raise PermanentError(
            f"field {into}: {path} is no longer in the messages of {self.options.topic}: name the right one in the"
            " mapping sheet, or delete the row, and restart the producer",
            reason="drift",
            field=into,
        )

    def _tell(self, row: Row, schema: Schema | None) -> None:
        columns = dict(_columns(row, schema))
        if columns == self._columns or self._drift is None:
            return
        self._columns = columns
        self._drift.saw(self.name, self.options.resource, columns, self._reads())

    def _reads(self) -> dict[str, str]:
        """The columns that the map reads -> what it makes of them; of fields of the same name those that were there."""
        return {**{path: made for path, made in self._same.items() if path in self.once}, **self._mapped}

    def _rejected(
        self, message: TopicMessage, key: Content | None, version: int, error: PermanentError, row: Row | None
    ) -> RejectedRecord:
        try:
            id = id_of(key, row, self.options)
        except PermanentError:
            id = f"no-id:{message.partition}:{message.offset}".encode()
        raw = json.dumps((message.value or b"")[:_RAW].decode("utf-8", "replace")).encode()
        words = f"{error} (topic {self.options.topic}, partition {message.partition}, offset {message.offset})"
        told = PermanentError(words, reason=error.reason, field=error.field, value=error.value)
        return RejectedRecord(self.name, id, version, message.at, raw, told)


def _columns(row: Row, schema: Schema | None) -> Iterator[tuple[str, str]]:
    fields = {str(one["field"]): one for one in (schema or {}).get("fields") or ()}
    for name in row:
        if not name.startswith("__"):
            one = fields.get(name, {})
            yield name, str(one.get("name") or one.get("type") or "")


def _shown(row: Mapping[str, object]) -> dict[str, object]:
    return {name: "(unchanged)" if value is UNAVAILABLE else value for name, value in row.items()}
