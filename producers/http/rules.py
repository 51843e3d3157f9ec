"""What a poll takes from an application's description, ready to be called."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from hashlib import blake2b

from sorbus.avro.encode import micros
from sorbus.connector import BoundSource
from sorbus.errors import PermanentError
from sorbus.http_api.description import ApiResource, Moment
from sorbus.http_api.interface import Record
from sorbus.http_api.invalid_value import InvalidValue
from sorbus.http_api.path import read_path
from sorbus.http_api.records import is_deleted
from sorbus.http_api.values import read_moment
from sorbus.mapping.errors import shown
from sorbus.producers.http.options import HttpSource
from sorbus.producers.polling.poll_state import NamelessRecord, Rules

LONGEST_ID = 1000
"""Bytes: an id is a key in Kafka, part of an index in PostgreSQL, and of an address."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SECOND = 1_000_000
_GRAINS: dict[Moment, int] = {
    "iso": 1,
    "iso-seconds": _SECOND,
    "iso-offset": _SECOND,
    "iso-bare": _SECOND,
    "http-date": _SECOND,
    "epoch": _SECOND,
    "epoch-ms": 1000,
    "date": 86_400 * _SECOND,
    "slash-date": _SECOND,
    "ms-json": 1000,
}


def rules_of(options: HttpSource, resource: ApiResource, what: str) -> Rules:
    """How a resource is polled; `what` names it in messages."""
    changes = resource.changes or resource.list
    updated = updated_of(resource)

    def lenient(record: Record) -> int | None:
        try:
            return updated(record)
        except PermanentError:
            return None  # it becomes a dead letter when it is judged

    return Rules(
        name=what,
        id_of=_id_of(resource),
        updated=lenient,
        is_deleted=lambda record: is_deleted(resource, record),
        has_changes=resource.changes is not None and bool(resource.updated),
        can_look=resource.get is not None,
        ascending=changes is not None and changes.ascending,
        inclusive=changes is None or changes.inclusive,
        grain=1 if changes is None else _GRAINS[changes.since_format],
        overlap=int(max(resource.overlap, resource.settle).total_seconds() * _SECOND),
        page_size=1 if changes is None else changes.pagination.size,
        may_vanish=options.may_vanish,
        max_deletes=options.max_deletes,
        id_path=resource.id,
    )


def updated_of(resource: ApiResource) -> Callable[[Record], int | None]:
    """A record's own update time in microseconds since 1970. PermanentError where it can't be read."""

    def updated(record: Record) -> int | None:
        path = written = None
        for path in resource.updated:
            if (written := read_path(record, path)) not in (None, ""):
                break
        try:
            moment = read_moment(written, resource.updated_format)
            return None if moment is None else micros(moment)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise PermanentError(
                f"its update time {shown(written)} ({path}) is not {resource.updated_format}:"
                " fix `updated_format:` in the API's description",
                reason="not canonical",
                field=path,
                value=written,
            ) from error

    return updated


def fingerprint(source: BoundSource, resource: ApiResource, chosen_by: str = "") -> str:
    """Changes with everything that makes a canonical record out of one of the application's.

    `chosen_by`: what else decides which records there are, such as a filter.
    """
    options = source.options
    assert isinstance(options, HttpSource)
    rows = [(row.source_field, row.target_field, row.rule) for row in source.mapping]
    kinds = {path: (field.kind, field.empty) for path, field in resource.fields.items()}
    parts: list[object] = [
        source.schema.text,
        rows,
        source.lookups,
        options.lists,
        options.resource,
        resource.lists,
        kinds,
    ]
    parts += [resource.id, resource.updated, resource.updated_format, resource.deleted]
    asked = [one for one in (resource.list, resource.changes) if one is not None]
    parts += [[one.method, one.path, one.parameters, one.headers, one.body, one.records, one.refers] for one in asked]
    parts += [chosen_by] if chosen_by else []
    return blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=8).hexdigest()


def _id_of(resource: ApiResource) -> Callable[[Record], bytes]:
    def id_of(record: Record) -> bytes:
        found = read_path(record, resource.id)
        if isinstance(found, InvalidValue) and found.why:
            raise NamelessRecord(
                f"its id {shown(str(found))} (at {resource.id}) {found.why}", reason="no id", field=resource.id
            )
        if isinstance(found, Decimal) and found == found.to_integral_value():
            found = int(found)  # 7.0 is 7, whichever way it is written today
        text = "" if isinstance(found, InvalidValue | bool) or not isinstance(found, str | int) else str(found)
        try:
            id = text.encode()
        except UnicodeEncodeError:
            id = b""
        if 0 < len(id) <= LONGEST_ID and _CONTROL.search(text) is None:
            return id
        raise PermanentError(
            f"its id {shown(found)} (at {resource.id}) is not a valid one: text of up to {LONGEST_ID} bytes without"
            " control characters, or a whole number, is; fix the record in the application, or `id:` in the API's"
            " description",
            reason="no id",
            field=resource.id,
            value=None if found is None else str(found)[:200],
        )

    return id_of
