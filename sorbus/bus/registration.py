"""Registering an event's schema, so that its id means on this bus what it has always meant."""

from __future__ import annotations

import json
import logging

from sorbus.bus.registry import Registry
from sorbus.bus.schema_history import SchemaHistory, WrittenSchema
from sorbus.errors import SchemaError
from sorbus.event import confluent_prefix, record_inside, single_object_prefix
from sorbus.schema import RecordSchema, parse_schema

_log = logging.getLogger(__name__)


def register(registry: Registry, history: SchemaHistory, subject: str, text: str) -> bytes:
    """The head of frames that `text`, an envelope, writes; it is in the history when this returns.

    An id that already stands for another schema (the registry was emptied) is passed over: the same schema with another
    `doc` gets the next one. SchemaError if it isn't compatible, TransientError.
    """
    record, attempt, before = record_inside(parse_schema(text, where=subject)), 0, history.known()
    if not history.of_subject(subject):
        before = history.read()
        _adopt(registry, history, subject)
    while attempt <= len(before):
        asked = text if not attempt else _again(text, attempt)
        head = confluent_prefix(registry.register(subject, asked))
        if record.encoding not in before.get(head, {}):  # new, as far as this process knows
            before = history.read()
        there = before.get(head, {})
        if there.keys() <= {record.encoding}:
            history.add([(head, WrittenSchema(subject, asked, record))])
            return head
        _log.warning(
            "the registry gives %s an id that events of %s bear: it was emptied. Another id is taken",
            subject,
            next(iter(there.values())).subject,
        )
        attempt += 1
    raise SchemaError(
        f"{subject}: the registry gives only ids that events with other schemas already bear; restore it from its"
        " backup: see docs/runbooks/registry-emptied.md"
    )


def keep_local(history: SchemaHistory, subject: str, envelope: RecordSchema) -> bytes:
    """The head of frames that a schema writes without a registry. SchemaError if it already stands for another one."""
    head, record = single_object_prefix(envelope), record_inside(envelope)
    there = history.known().get(head, {}) or history.read().get(head, {})
    if not there.keys() <= {record.encoding}:
        before = next(iter(there.values())).record
        changed = [name for name, item in record.by_name.items() if item.type != before.by_name[name].type]
        raise SchemaError(
            f"{subject}: {', '.join(changed)} changed so that Avro's fingerprint stays the same (a decimal's scale, a"
            " logical type): readers could not tell old events from new ones. Give the changed field a new name, or set"
            " SORBUS_REGISTRY"
        )
    history.add([(head, WrittenSchema(subject, envelope.text, record))])
    return head


def _adopt(registry: Registry, history: SchemaHistory, subject: str) -> None:
    """The first time: what earlier releases have registered."""
    if history.of_subject(subject):
        return
    found: list[tuple[bytes, WrittenSchema]] = []
    for version in registry.versions(subject):
        try:
            record = record_inside(parse_schema(version.schema, where=subject))
        except SchemaError:  # not from Sorbus: no event was written with it
            continue
        head = confluent_prefix(version.id)
        if head not in history.known():
            found.append((head, WrittenSchema(subject, version.schema, record)))
    history.add(found)


def _again(text: str, attempt: int) -> str:
    envelope = json.loads(text)
    envelope["doc"] = f"{envelope.get('doc', '')} (Registered again, {attempt}.)".strip()
    return json.dumps(envelope, separators=(",", ":"))
