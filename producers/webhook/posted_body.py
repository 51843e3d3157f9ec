"""A posted body as it was signed, and as JSON whatever it was sent as: JSON, a form, a form with files; gzip."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from http import HTTPStatus
from urllib.parse import parse_qsl

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers
from starlette.formparsers import MultiPartException, MultiPartParser

from sorbus.errors import PermanentError
from sorbus.http_api.description import WebhookSignature
from sorbus.http_api.interface import Json
from sorbus.http_api.values import load_json
from sorbus.producers.webhook.request_body import LARGEST_BODY, EarlyAnswer
from sorbus.webhook.signatures import RefusedRequest, WebhookRequest, verify

_MOST_FIELDS = 1000


def verified(signature: WebhookSignature, secrets: Sequence[str], delivery: WebhookRequest, now: float) -> bytes:
    """The body without its compression: senders sign what they compress, or what they send. RefusedRequest."""
    encoding = delivery.headers.get("content-encoding", "").strip().lower()
    try:
        verify(signature, secrets, delivery, now)
    except RefusedRequest:
        if encoding not in ("gzip", "x-gzip"):
            raise
        body = _unpacked(delivery.body)
        verify(signature, secrets, delivery._replace(body=body), now)
        return body
    if encoding in ("gzip", "x-gzip"):
        return _unpacked(delivery.body)
    if encoding not in ("", "identity"):
        raise EarlyAnswer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "malformed")
    return delivery.body


def _unpacked(body: bytes) -> bytes:
    """EarlyAnswer for what isn't gzip, or is larger than a body may be."""
    unpacker = zlib.decompressobj(31)
    try:
        found = unpacker.decompress(body, LARGEST_BODY + 1)
    except zlib.error as error:
        raise EarlyAnswer(HTTPStatus.BAD_REQUEST, "malformed") from error
    if len(found) > LARGEST_BODY:
        raise EarlyAnswer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too large")
    if not unpacker.eof or unpacker.unused_data:
        raise EarlyAnswer(HTTPStatus.BAD_REQUEST, "malformed")
    return found


async def read_body(body: bytes, headers: Headers) -> Json:
    """The body's content. An empty field of a form is no value. PermanentError says why it can't be read."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return _form(body)
    if kind == "multipart/form-data":
        return await _multipart(body, headers)
    if kind not in ("", "application/json", "text/plain", "text/json") and not kind.endswith("+json"):
        raise PermanentError(
            f"a body of type {kind[:60]} can't be read; send application/json or a form", reason="unreadable body"
        )
    try:
        return load_json(body)
    except ValueError as error:
        raise PermanentError(f"the body isn't JSON: {str(error)[:200]}", reason="unreadable body") from error


def _form(body: bytes) -> Json:
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError as error:
        raise PermanentError(f"the form can't be read: {str(error)[:200]}", reason="unreadable body") from error
    return _fields(fields)


async def _multipart(body: bytes, headers: Headers) -> Json:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(headers, stream(), max_files=0, max_fields=_MOST_FIELDS, max_part_size=LARGEST_BODY)
    try:
        _, named = parse_options_header(headers["content-type"])
        body.decode(named.get(b"charset", b"utf-8").decode())  # the parser takes what isn't for Latin-1
        form: FormData = await parser.parse()
    except (MultiPartException, LookupError, ValueError) as error:
        why = str(getattr(error, "message", error))[:200]
        raise PermanentError(
            f"the form can't be read, or holds files, which can't be a record: {why}", reason="unreadable body"
        ) from error
    return _fields([(name, str(value)) for name, value in form.multi_items()])


def _fields(fields: Sequence[tuple[str, str]]) -> Mapping[str, Json]:
    """Field -> text; a list where a form has a field several times."""
    found: dict[str, Json] = {}
    for name, text in fields:
        value = text or None
        if name not in found:
            found[name] = value
        elif isinstance(held := found[name], list):
            held.append(value)
        else:
            found[name] = [held, value]
    return found
