"""The owner's records as its topic has them, for the people who transfer them; bounded in records and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from sorbus.bus.names import Names
from sorbus.bus.status import StatusReader
from sorbus.errors import SorbusError, TransientError
from sorbus.map.loaded import LoadedMap
from sorbus.ops.checklists.sheets.changes import OwnerRecord
from sorbus.ops.checklists.sheets.target_fields import ManualFlow, RecordReader
from sorbus.ops.flow_plan.records import NewestEvents, TopicRecords
from sorbus.ops.monitoring.problems import problems_of
from sorbus.settings import Settings

MOST_RECORDS = 200_000
"""More are not transferred by hand."""
LONGEST = 300.0
"""Seconds that reading the topic may take."""
Progress = Callable[[str, int, int], None]


def read_owner_records(settings: Settings, flow: ManualFlow, progress: Progress) -> list[OwnerRecord]:
    """Each record's newest state, deletes too.

    TransientError, AuthError; SorbusError where the topic holds nothing, or too many records for people.
    """
    ends_at = time.monotonic() + LONGEST

    def bounded(what: str, done: int, total: int) -> None:
        if time.monotonic() > ends_at:
            raise TransientError(
                f"reading {data_type} took longer than {LONGEST:.0f} s; nothing was recorded; try again"
            )
        progress(what, done, total)

    data_type = flow.bound.flow.data_type
    topic = TopicRecords(settings, flow.bound, bounded)
    if not topic.has_events():
        raise SorbusError(
            f"{flow.bound.flow.id}: nothing is published of {data_type}, so Sorbus can't tell what has changed; start"
            " its owner's producer, or finish rounds by `sorbus checklists done`"
        )
    newest = topic.newest()
    if len(newest.versions) > MOST_RECORDS:
        raise SorbusError(
            f"{flow.bound.flow.id}: {data_type} has {len(newest.versions):,} records, and sheets are for at most"
            f" {MOST_RECORDS:,}; narrow the flow with `where:`"
        )
    return list(_records(topic, newest, RecordReader(flow)))


def owner_trouble(loaded: LoadedMap, settings: Settings, data_type: str) -> str:
    """Why the topic may lack what changed at its owner; "" if the producer works or never reported. TransientError."""
    company = loaded.map
    owner = company.owner_of(data_type)
    reader = StatusReader(settings, Names(company.topic_prefix))
    try:
        reports = reader.read()
    finally:
        reader.close()
    if not any(one.process == f"produce {owner}" for one in reports):
        return ""
    found = (one for one in problems_of(company, reports, {}) if one.subject == owner)
    return next((f"{owner}: {one.words}" for one in found if one.kind in ("system", "producer")), "")


def _records(topic: TopicRecords, newest: NewestEvents, reader: RecordReader) -> Iterator[OwnerRecord]:
    for id, error in newest.unread.items():
        yield OwnerRecord(id, None, str(error))
    for key in newest.deleted:
        yield OwnerRecord(key.decode(errors="replace"), None)
    for batch in topic.among(newest, newest.versions.keys() - newest.deleted):
        yield from map(reader.read, batch.deliveries)
