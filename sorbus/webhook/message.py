"""What Sorbus posts: a record's change as JSON, format 1, and its headers as Standard Webhooks wants them."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from hashlib import blake2b
from typing import NamedTuple
from uuid import UUID

from standardwebhooks import Webhook

from sorbus import __version__
from sorbus.errors import PermanentError

FORMAT = 1
"""Grows when a receiver of the earlier format would misread the new one; new keys alone don't change it."""
TEST = "sorbus.test"
"""The type of a test event."""


class WebhookMessage(NamedTuple):
    """One change as it is posted. `id` is the webhook-id: the same for the same change with the same content."""

    id: str
    type: str
    body: bytes
    is_delete: bool = False


def changed_message(
    flow: str,
    data_type: str,
    id: str,
    version: int,
    data: Mapping[str, object] | None,
    *,
    changed_at: str | None,
    historical: bool,
) -> WebhookMessage:
    """The message of a change; `data` None: a delete. PermanentError names a field that JSON can't hold."""
    content = None if data is None else {name: _json(name, value) for name, value in data.items()}
    kind = f"{data_type}.{'deleted' if data is None else 'changed'}"
    body = {
        "format": FORMAT,
        "type": kind,
        "data_type": data_type,
        "id": id,
        "version": version,
        "deleted": data is None,
        "historical": historical,
        "changed_at": changed_at,
        "data": content,
    }
    # Content is part of the id: what a corrected mapping makes of the same version is news to the receiver.
    told = json.dumps([flow, data_type, id, version, content], ensure_ascii=False, separators=(",", ":"))
    return WebhookMessage(message_id(told), kind, _written(body), data is None)


def test_message(flow: str, data_type: str, data: Mapping[str, object], at: datetime) -> WebhookMessage:
    """A message that is about no record."""
    body = {
        "format": FORMAT,
        "type": TEST,
        "data_type": data_type,
        "id": "test",
        "version": 0,
        "deleted": False,
        "historical": False,
        "changed_at": at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "data": {name: _json(name, value) for name, value in data.items()},
    }
    return WebhookMessage(message_id(f"{flow} test {at.timestamp()}"), TEST, _written(body))


def message_id(of: str) -> str:
    """A webhook-id that depends on this text alone."""
    digest = blake2b(of.encode("utf-8", "surrogatepass"), digest_size=20).digest()
    return f"msg_{base64.b32encode(digest).decode().lower()}"


def signed_headers(message: WebhookMessage, secrets: Sequence[str], at: datetime) -> dict[str, str]:
    """The headers of an attempt at `at`: a signature for each secret, so that either verifies."""
    moment = at.astimezone(UTC).replace(microsecond=0)
    text = message.body.decode()
    return {
        "Content-Type": "application/json",
        "User-Agent": f"Sorbus/{__version__}",
        "webhook-id": message.id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(message.id, moment, text) for secret in secrets),
    }


def _written(body: Mapping[str, object]) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError as error:
        raise PermanentError(
            "it holds half of a character, as of an emoji that was cut in two; write the value again in its system",
            reason="value",
        ) from error


def _json(name: str, value: object) -> object:
    """A value as the documents say it is sent: decimals as text with all their digits, moments in UTC."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if not math.isfinite(value):
                raise PermanentError(
                    f"field {name}: {value} is no number in JSON", reason="value", field=name, value=value
                )
            return value
        case Decimal():
            return format(value, "f")
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value.tzinfo else value.isoformat()
        case date() | time():
            return value.isoformat()
        case bytes():
            return base64.b64encode(value).decode()
        case UUID():
            return str(value)
        case Mapping():
            return {str(key): _json(name, inner) for key, inner in value.items()}
        case list() | tuple():
            return [_json(name, inner) for inner in value]
        case _:
            raise PermanentError(
                f"field {name}: a value of type {type(value).__name__} can't be sent as JSON; map it to text",
                reason="value",
                field=name,
            )
