"""Systems of kind webhook: what they post are records, which go into their inbox as they came."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from http import HTTPStatus
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.requests import Request

from sorbus.bus.inbox import with_inbox
from sorbus.bus.record_inbox import LARGEST_RECORD, PostedKind, PostedRecord
from sorbus.errors import MapError, PermanentError
from sorbus.http_api.description import WebhookSignature
from sorbus.http_api.interface import Json
from sorbus.http_api.invalid_value import InvalidValue
from sorbus.http_api.values import dump_json
from sorbus.map.loaded import LoadedMap
from sorbus.producers.webhook.intake import RecordIntake
from sorbus.producers.webhook.posted_body import read_body
from sorbus.producers.webhook.request_body import EarlyAnswer
from sorbus.webhook.connection import WebhookConnection, secrets_of

_UNSET = re.compile(r"\$\{([^}]*)\}")
MOST_RECORDS = 10_000
"""In one body."""
_MOST_TOLD = 20
_SHOWN_BODY = 10_000
_LONGEST_DELIVERY = 200
_IN_THREAD = 65_536


class RecordRefusal(NamedTuple):
    """A record that will be a dead letter, and why."""

    record: str
    field: str | None
    error: str


class ReceivedRecords(NamedTuple):
    """What goes into the inbox of one post, and what its sender is told."""

    records: Sequence[PostedRecord]
    refusals: Sequence[RecordRefusal]
    status: HTTPStatus

    @property
    def words(self) -> bytes:
        """The answer's body."""
        told: dict[str, object] = {"accepted": len(self.records) - len(self.refusals)}
        if self.refusals:
            told["refused"] = [one._asdict() for one in self.refusals[:_MOST_TOLD]]
            told["refused_records"] = len(self.refusals)
        return json.dumps(told).encode()


@dataclass(frozen=True, slots=True)
class RecordReceiver:
    """One system. `url` is empty: no signature that it may have covers the address."""

    system: str
    webhooks: WebhookSignature
    secrets: tuple[str, ...] = field(repr=False)
    intakes: Mapping[str, RecordIntake]
    delivery_header: str = "webhook-id"
    url: str = ""

    async def receive(self, request: Request, names: Sequence[str], body: bytes, received_at: int) -> ReceivedRecords:
        """What a verified post holds. `names`: the parts of its path after the system. EarlyAnswer."""
        intake = self._intake(names)
        delivery = request.headers.get(self.delivery_header, "")[:_LONGEST_DELIVERY]
        try:
            content = await self._content(request, body)
            found = intake.records(content)
            if len(found) > MOST_RECORDS:
                raise PermanentError(
                    f"{len(found):,} records in one body; {MOST_RECORDS:,} are the most", reason="unreadable body"
                )
        except PermanentError as error:
            shown = _shown(body, request.headers)
            record = PostedRecord(intake.name, _body_id(body), "unreadable", shown, delivery, received_at, str(error))
            return ReceivedRecords([record], [RecordRefusal("", error.field, str(error))], HTTPStatus.BAD_REQUEST)
        is_delete = request.method == "DELETE"
        if len(body) > _IN_THREAD:
            return await asyncio.to_thread(_received, intake, found, delivery, received_at, is_delete)
        return _received(intake, found, delivery, received_at, is_delete)

    def _intake(self, names: Sequence[str]) -> RecordIntake:
        if not names and len(self.intakes) == 1:
            return next(iter(self.intakes.values()))
        found = self.intakes.get(names[0]) if len(names) == 1 else None
        if found is None:
            known = ", ".join(f"/webhooks/{self.system}/{name}" for name in self.intakes)
            words = json.dumps({"error": f"the address names no data type of this system; there are: {known}"}).encode()
            raise EarlyAnswer(HTTPStatus.NOT_FOUND, "unmapped", words=words)
        return found

    async def _content(self, request: Request, body: bytes) -> Json:
        if body or request.method != "DELETE":
            return await read_body(body, request.headers)
        if self.webhooks.signature != "shared-secret":
            raise PermanentError(
                "a DELETE that is signed names the record in its body: a signature doesn't cover the address",
                reason="unreadable body",
            )
        return dict(request.query_params)


def record_receivers_of(loaded: LoadedMap) -> dict[str, RecordReceiver]:
    """Every system that posts records, by name. MapError."""
    quiet = loaded.for_check()
    found = {}
    for name in with_inbox(loaded.map):
        if loaded.map.systems[name].kind != "webhook":
            continue
        connection = quiet.system(name, "producer").connection
        assert isinstance(connection, WebhookConnection)
        if unset := [found for one in secrets_of(connection.webhook_secret) for found in _UNSET.findall(one)]:
            fix = f"set the environment variable {unset[0]}, or {unset[0]}_FILE"
            path = ("systems", name, "connection", "webhook_secret")
            raise MapError([loaded.finding(path, "webhooks", f"${{{unset[0]}}} has no value", fix)])
        intakes = {source.name: RecordIntake(source, name) for source in quiet.sources(name)}
        found[name] = RecordReceiver(
            name, connection.verify, secrets_of(connection.webhook_secret), intakes, connection.delivery_header
        )
    return found


def _received(
    intake: RecordIntake, found: Sequence[Json], delivery: str, received_at: int, is_delete: bool
) -> ReceivedRecords:
    records, refusals = list[PostedRecord](), list[RecordRefusal]()
    for place, record in enumerate(found):
        kind: PostedKind = "delete" if is_delete else "record"  # also where it is refused, and judged again later
        body, id, why = b"", "", ""
        try:
            body = _written(record)
            id = intake.id_of(record)
            intake.updated(record, received_at)
            if kind == "delete" or intake.is_deleted(record):
                kind = "delete"
            else:
                intake.encode(record)
        except PermanentError as error:
            why = str(error)
            refusals.append(RecordRefusal(id or f"number {place + 1}", error.field, why))
        if why and (not id or _is_inexact(record)):  # it can't be kept as it is, nor be read again later
            kind = "unreadable"
        body = body or json.dumps({"record": place + 1}).encode()
        records.append(PostedRecord(intake.name, id or _body_id(body), kind, body, delivery, received_at, why))
    status = HTTPStatus.UNPROCESSABLE_ENTITY if refusals else HTTPStatus.OK
    return ReceivedRecords(records, refusals, status)


def _written(record: Json) -> bytes:
    try:
        body = dump_json(record).encode()
    except (ValueError, RecursionError) as error:
        raise PermanentError(
            f"the record can't be kept as JSON: {str(error)[:200]}", reason="unreadable body"
        ) from error
    if len(body) > LARGEST_RECORD:
        raise PermanentError(f"the record has {len(body):,} bytes; {LARGEST_RECORD:,} are the most", reason="too large")
    return body


def _is_inexact(value: Json) -> bool:
    if isinstance(value, Mapping):
        return any(_is_inexact(inner) for inner in value.values())
    if isinstance(value, list):
        return any(_is_inexact(inner) for inner in value)
    return isinstance(value, InvalidValue)


def _body_id(body: bytes) -> str:
    """The same body is the same dead letter, however often it comes."""
    return f"(no id) {blake2b(body, digest_size=12).hexdigest()}"


def _shown(body: bytes, headers: Headers) -> bytes:
    """What can be shown of a body that holds no record."""
    text = body[:_SHOWN_BODY].decode("utf-8", "replace")
    kind = headers.get("content-type", "")[:100]
    return json.dumps({"body": text, "bytes": len(body), "content_type": kind}).encode()
