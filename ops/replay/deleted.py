"""Rows of deleted records that a flow with soft deletes keeps: a replay brings back those that its target has lost.

A topic holds a deleted record's last state only until it is compacted. So what is missing is found, and what can't be
brought back is said, before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from confluent_kafka import Message

from sorbus.abilities import SupportsLookup
from sorbus.bus.deserialize import decode_batch
from sorbus.bus.kafka import all_partitions, bytes_of, read_to_end, topic_reader
from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.connector import BoundFlow, Consumer, Delivery
from sorbus.drift.watch import has_state
from sorbus.erased import ErasedRecords
from sorbus.errors import AuthError, SorbusError
from sorbus.ops.replay.selection import Selection
from sorbus.settings import Settings
from sorbus.state.database import State

_BATCH, _SHOWN = 5000, 3
_TABLES = ("postgres", "mysql")
"""Kinds of targets whose deleted records are rows that stay."""


class LostDeletions(SorbusError):
    """Deleted records whose rows are gone from the target and whose last states are gone from the topic."""

    exit_code = AuthError.exit_code


def lost_deletions(
    flow: BoundFlow, make: Callable[[], Consumer], settings: Settings, selection: Selection, *, without: bool
) -> list[Delivery]:
    """What brings the missing rows back: their last states, each with the version of its delete, and the deletes.

    Of the records that are selected and were not erased; a condition fits no deleted one.

    To be applied in that order, as a replay. LostDeletions where a state is gone, unless it is to be done `without`.
    TransientError, AuthError.
    """
    target = make()
    keeps = flow.flow.deletes == "soft" and flow.system.system.kind in _TABLES and not selection.where
    if not keeps or not isinstance(target, SupportsLookup):
        return []
    names = Names(flow.system.topic_prefix)
    book = SchemaResolver(settings, names, [flow.schema])
    newest: dict[bytes, Delivery] = {}
    for taken in _batches(flow, book, settings):
        for one in taken:
            if one.id not in newest or newest[one.id].version <= one.version:
                newest[one.id] = one if one.deleted else one._replace(data=b"")
    ids = selection.ids
    erased = ErasedRecords(
        State.of(flow.system.topic_prefix) if has_state(settings) else None, settings, names, flow.flow.data_type
    )
    erased.read()
    deletes = {
        id: one
        for id, one in newest.items()
        if one.deleted and (ids is None or id in ids) and not erased.covers(id, one.version)
    }
    try:
        target.open()
        missing = {id for id in deletes if target.look(id.decode(errors="replace")) is None}
    finally:
        target.close()
    states: dict[bytes, Delivery] = {}
    for taken in _batches(flow, book, settings, only=missing) if missing else ():
        for one in taken:
            if not one.deleted and (one.id not in states or states[one.id].version <= one.version):
                states[one.id] = one
    lost = sorted(missing - states.keys())
    if lost and not without:
        shown = ", ".join(id.decode(errors="replace") for id in lost[:_SHOWN]) + (", ..." if len(lost) > _SHOWN else "")
        raise LostDeletions(
            f"{flow.flow.id} keeps deleted records, and {len(lost)} of them ({shown}) are neither in {flow.system.name}"
            " nor, with their last state, on the topic: a replay can't bring them back. Nothing was written. Restore"
            " the table from a backup and replay then, or do without them: --without-deleted"
        )
    back = [one._replace(version=deletes[id].version) for id, one in states.items()]
    return [*back, *(deletes[id] for id in states)]


def _batches(
    flow: BoundFlow, book: SchemaResolver, settings: Settings, only: set[bytes] | None = None
) -> Iterator[Sequence[Delivery]]:
    """The topic's events. With `only`: of these records, each event by itself, since the newest hides the others."""
    reader = topic_reader(settings, f"deleted-{flow.flow.id}")
    try:
        batch: list[Message] = []
        topic = Names(flow.system.topic_prefix).topic(flow.flow.data_type)
        for message in read_to_end(reader, all_partitions(reader, topic)):
            if only is None:
                batch.append(message)
            elif bytes_of(message.key()) in only:
                yield decode_batch([message], book).deliveries
            if len(batch) >= _BATCH:
                yield decode_batch(batch, book).deliveries
                batch = []
        yield decode_batch(batch, book).deliveries
    finally:
        reader.close()
