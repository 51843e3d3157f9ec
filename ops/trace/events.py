"""A record's events as its topic still has them: when, which version, what changed against the event before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, cast

from confluent_kafka import Message
from pydantic import JsonValue
from pydantic_core import to_jsonable_python

from sorbus.avro.decode import Undecodable, read_record
from sorbus.bus.kafka import bytes_of, headers_of, offset_of, partition_of
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.calendar_limits import EPOCH, moment_of
from sorbus.errors import PermanentError
from sorbus.event import EVENT_ID, data_at, envelope_schema, open_frame, version_of
from sorbus.ops.trace.moment import Moment
from sorbus.privacy.mask import masked_record
from sorbus.schema import RecordSchema

Fields = dict[str, JsonValue]
_MINUTE, _MANY = timedelta(minutes=1), 60


class EventHistory(NamedTuple):
    """A record's events, oldest first, and the newest state that can be read; None: it was deleted, or never was.

    `values`: the same with personal values, never to be shown. `since`: when that state came to be in its source.
    """

    moments: list[Moment]
    record: Fields | None
    version: int | None
    values: dict[str, object] | None = None
    since: datetime | None = None


def busy(moments: Sequence[Moment]) -> list[Moment]:
    """That a record changed again and again within a minute, if it did: when most."""
    times = sorted(one.at for one in moments)
    first, most, last = 0, 0, None
    for place, at in enumerate(times):
        while at - times[first] > _MINUTE:
            first += 1
        if place - first + 1 > most:
            most, last = place - first + 1, at
    if last is None or most < _MANY:
        return []
    what = (
        f"it changed {most:,} times within a minute: see what writes it, such as a trigger of a target that writes back"
        " to its owner"
    )
    return [Moment(last, "event", "its topic", what)]


class EventReader:
    """Reads the events of one data type; personal fields are masked unless `show_personal`."""

    def __init__(self, data_type: str, schema: RecordSchema, book: SchemaResolver, *, show_personal: bool) -> None:
        self._data_type, self._schema, self._book = data_type, schema, book
        self._show_personal = show_personal

    def read(self, messages: Sequence[Message]) -> EventHistory:
        """What the messages of one record say. TransientError when the registry can't be asked."""
        moments: list[Moment] = []
        before: dict[str, object] | None = None
        version: int | None = None
        since: datetime | None = None
        for message in messages:
            topic, partition = partition_of(message)
            where = f"{topic}/{partition} offset {offset_of(message)}"
            at = moment_of(1000 * message.timestamp()[1])
            frame = bytes_of(message.value())
            if not frame:
                said = version_of(dict(headers_of(message)).get(EVENT_ID) or b"")
                moments.append(Moment(at, "event", where, f"a tombstone of version {said}: compaction ends it here"))
                before, version = None, said if said is not None else version
                since = since or at
                continue
            try:
                head = open_frame(frame)
                schema = self._book.schema(head.prefix)
                envelope, _ = read_record(envelope_schema(schema), frame, len(head.prefix))
            except (Undecodable, PermanentError) as error:
                moments.append(Moment(at, "event", where, f"an event that can't be read: {error}"))
                continue
            version = head.version
            since = None
            now = None if head.deleted else read_record(schema, frame, data_at(frame, head.at))[0]
            happened = cast("datetime", envelope["occurred_at"])
            since = happened if happened > EPOCH else at
            source, captured = envelope["source"], cast("datetime", envelope["captured_at"])
            what = (
                f"{'deleted' if now is None else 'changed' if before else 'published'} in {source}, version {version}"
            )
            late = (captured - happened).total_seconds()
            what += f"; captured {late:.1f} s later" if happened > EPOCH and late >= 0.1 else ""
            moments.append(Moment(happened, "event", where, what, dict(self._changes(before, now))))
            before = now
        moments += busy(moments)
        return EventHistory(moments, None if before is None else self._shown(before), version, before, since)

    def _changes(
        self, before: dict[str, object] | None, now: dict[str, object] | None
    ) -> Iterator[tuple[str, JsonValue]]:
        if before is None or now is None:
            return
        was, new = self._shown(before), self._shown(now)
        for name in {**before, **now}:
            if before.get(name) != now.get(name):
                yield name, [was.get(name), new.get(name)]

    def _shown(self, record: dict[str, object]) -> Fields:
        shown = record if self._show_personal else masked_record(record, self._schema.fields)
        made: Fields = to_jsonable_python(shown, fallback=str, bytes_mode="base64")
        return made
