"""A tap's lines as messages of the Singer specification; no I/O.

https://github.com/singer-io/getting-started/blob/master/docs/SPEC.md; ACTIVATE_VERSION and BATCH are as Stitch and
Meltano extended it. Numbers are exact.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from sorbus.http_api.interface import Json, Record
from sorbus.http_api.values import dump_json, load_json

_MESSAGE = re.compile(rb'"type"\s*:\s*"(RECORD|SCHEMA|STATE|ACTIVATE_VERSION|BATCH)"')
_STREAM = re.compile(rb'"stream"\s*:\s*("(?:[^"\\]|\\.){1,500}")')
_HEAD = 4096


class SchemaMessage(NamedTuple):
    """What a stream's records look like from now on."""

    stream: str
    schema: Record
    key: tuple[str, ...]


class RecordMessage(NamedTuple):
    """One record's state. `version`: the copy of the table that it belongs to."""

    stream: str
    record: Record
    version: int | None


class StateMessage(NamedTuple):
    """Where the tap has got to, as JSON text: to be handed back unchanged."""

    text: str


class ActivateVersionMessage(NamedTuple):
    """Records of earlier copies of the table are obsolete."""

    stream: str
    version: int


class BatchMessage(NamedTuple):
    """Records in files beside the stream."""

    stream: str


class OverlongLine(NamedTuple):
    """A line that wasn't kept: how it begins, how many bytes it had, and their digest."""

    head: bytes
    size: int
    digest: str


class BrokenLine(NamedTuple):
    """A message that can't be read: its beginning as text, and the digest of all of it.

    `stream` is empty where it isn't known that it is one record of a stream.
    """

    stream: str
    text: str
    digest: str
    why: str


class NoMessage(NamedTuple):
    """A line that is no message, such as a log line."""

    text: str


Message = SchemaMessage | RecordMessage | StateMessage | ActivateVersionMessage | BatchMessage | BrokenLine | NoMessage


def parse_line(line: bytes | OverlongLine) -> Message:
    """What a line says. Raises nothing."""
    if isinstance(line, OverlongLine):
        return _broken(line.head, line.digest, f"it is {line.size:,} bytes long, and its end was not kept")
    try:
        found = load_json(line)
    except ValueError as error:
        if _MESSAGE.search(line[:_HEAD]) is None and _MESSAGE.search(line[-_HEAD:]) is None:
            return NoMessage(_text(line))
        return _broken(line, digest_of(line), f"it is not JSON ({str(error)[:200]})")
    if not isinstance(found, dict) or "type" not in found:
        return NoMessage(_text(line))
    stream = found.get("stream")
    match found.get("type"), found:
        case "RECORD", {"stream": str(), "record": dict() as record}:
            return RecordMessage(str(stream), record, _whole(found.get("version")))
        case "SCHEMA", {"stream": str(), "schema": dict() as schema}:
            return SchemaMessage(str(stream), schema, _names(found.get("key_properties")))
        case "STATE", {"value": value}:
            return StateMessage(dump_json(value))
        case "ACTIVATE_VERSION", {"stream": str(), "version": int() as version}:
            return ActivateVersionMessage(str(stream), version)
        case "BATCH", _:
            return BatchMessage(str(stream))
        case (("RECORD" | "SCHEMA" | "STATE" | "ACTIVATE_VERSION"), _):
            return _broken(line, digest_of(line), f"a {found['type']} needs more than it has")
    return NoMessage(_text(line))


def digest_of(data: bytes) -> str:
    """What tells apart lines, or records without an id, that begin alike."""
    return blake2b(data, digest_size=8).hexdigest()


def _broken(line: bytes, digest: str, why: str) -> BrokenLine:
    """Of one record only where nothing but the record's own content can be in doubt."""
    stream = _STREAM.search(line[:_HEAD])
    is_record = _MESSAGE.findall(line) == [b"RECORD"] and stream is not None and line.lstrip()[:1] == b"{"
    name = str(json.loads(stream[1].decode("utf-8", "replace"))) if is_record and stream is not None else ""
    return BrokenLine(name, _text(line), digest, why)


def _text(line: bytes) -> str:
    return line[:_HEAD].decode("utf-8", "replace")


def _names(given: Json) -> tuple[str, ...]:
    return tuple(map(str, given)) if isinstance(given, Sequence) and not isinstance(given, str) else ()


def _whole(given: Json) -> int | None:
    return given if isinstance(given, int) and not isinstance(given, bool) else None
