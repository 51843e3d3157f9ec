"""From a delivery's JSON to notices: which records it says have changed; no I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from hashlib import blake2b
from typing import NamedTuple

from sorbus.abilities import Notice
from sorbus.http_api.description import JsonPath, Webhooks
from sorbus.http_api.interface import Json
from sorbus.http_api.invalid_value import InvalidValue
from sorbus.http_api.path import read_path
from sorbus.producers.webhook.receivers import WebhookReceiver

_LONGEST_ID = 1000
"""Bytes."""


class WebhookEvent(NamedTuple):
    """One event: its notice with a key that its repetitions share ("" if it has no id), or why there is no notice."""

    notice: Notice | None
    key: str = ""
    why: str = ""


def read_events(
    hearing: WebhookReceiver, body: Json, headers: Mapping[str, str], received_at: int
) -> list[WebhookEvent]:
    """What a verified delivery tells, in its order. `received_at` is in microseconds since 1970 (UTC).

    `why` is `unmapped` (a record that this map doesn't read, or another account's) or `malformed` (no id to be found).
    """
    webhooks = hearing.webhooks
    delivery = headers.get(webhooks.delivery_header.lower(), "") if webhooks.delivery_header else ""
    kind = headers.get(webhooks.event.type_header.lower(), "") if webhooks.event.type_header else ""
    return [_read(hearing, event, kind, delivery, received_at) for event in _events(webhooks, body)]


def _events(webhooks: Webhooks, body: Json) -> Iterator[Json]:
    if webhooks.events:
        yield from _every(body, webhooks.events.split("[]"))
    elif isinstance(body, list):
        yield from body
    else:
        yield body


def _every(found: Json, steps: list[JsonPath]) -> Iterator[Json]:
    """The items that `a[].b[]` names, its parts given as steps."""
    step, *rest = steps
    path = step.strip(".")
    below = read_path(found, path) if path else found
    if isinstance(below, list):
        for item in below:
            if rest:
                yield from _every(item, rest)
            else:
                yield item
    elif below is not None and not rest:
        yield below


def _read(hearing: WebhookReceiver, event: Json, kind: str, delivery: str, received_at: int) -> WebhookEvent:
    said, webhooks = hearing.webhooks.event, hearing.webhooks
    if not isinstance(event, dict):
        return WebhookEvent(None, why="malformed")
    if any(_text(read_path(event, path)) != value for path, value in hearing.where.items()):
        return WebhookEvent(None, why="unmapped")
    kind = _text(read_path(event, said.type)) if said.type else kind
    resource = _longest(said.resources, kind)
    if resource is None or resource not in hearing.resources:
        return WebhookEvent(None, why="unmapped")
    id = _text(read_path(event, said.id))
    if not 0 < len(id.encode()) <= _LONGEST_ID:
        return WebhookEvent(None, why="malformed")
    is_gone = _longest(dict.fromkeys(said.deleted, ""), kind) is not None
    own = _text(read_path(event, webhooks.delivery_id)) if webhooks.delivery_id else delivery
    return WebhookEvent(Notice(resource, id, is_gone, received_at), f"{own}\0{_digest(event)}" if own else "")


def _longest(types: Mapping[str, str], kind: str) -> str | None:
    """The value of the type that is `kind`, or of the longest `beginning*` of it; None if there is none."""
    if kind in types:
        return types[kind]
    fitting = [name for name in types if name.endswith("*") and kind.startswith(name[:-1])]
    return types[max(fitting, key=len)] if fitting else None


def _digest(event: Json) -> str:
    """Not every vendor's ids are as unique as they look: what says something else is no repetition."""
    return blake2b(json.dumps(event, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()


def _text(value: Json) -> str:
    """An id or type as text; empty for what is neither printable text nor a whole number."""
    if isinstance(value, Decimal) and value == value.to_integral_value():
        value = int(value)
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool | InvalidValue) else ""
    return text if text.isprintable() else ""
