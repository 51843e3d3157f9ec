"""The schema registry: the calls that Sorbus needs, and a client for the Confluent API (which Apicurio also offers).

Another product is another class with these methods and a line in `open_registry`. `sorbus.event` defines the frame
that names a schema on the wire.
"""

from __future__ import annotations

import json
from typing import NamedTuple, Protocol, cast
from urllib.parse import quote

import httpx
import stamina
from pydantic import JsonValue

from sorbus.bus.registry_access import registry_client
from sorbus.errors import AuthError, SchemaError, TransientError, missing
from sorbus.http_api import bounded
from sorbus.settings import Settings
from sorbus.tls import connection_words, way_to

LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes, uncompressed: a schema has a few thousand."""
LONGEST_CALL = 15.0
"""Seconds for one call, from the DNS lookup to the last byte."""
_JSON = "application/vnd.schemaregistry.v1+json"
_LARGEST = 2**32 - 1
"""A frame has four bytes for a schema's id."""
_UNKNOWN = (40401, 40402, 40403, 40408)
"""The API's error codes for an unknown subject, version or schema, and a subject without its own level."""


class Version(NamedTuple):
    """One version of a subject: its number, the schema's id, the schema as Avro JSON."""

    number: int
    id: int
    schema: str


class Registry(Protocol):
    """Every call may raise TransientError or AuthError; a schema is Avro JSON as text."""

    def register(self, subject: str, schema: str) -> int:
        """The schema's id under `subject`, new or existing. SchemaError if it isn't compatible."""

    def schema(self, number: int) -> str | None:
        """The schema with that id; None if there is none."""

    def knows(self, subject: str, schema: str) -> bool:
        """Whether the schema is registered under `subject`."""

    def latest(self, subject: str) -> tuple[int, str] | None:
        """The newest version's number and schema; None for an unknown subject."""

    def versions(self, subject: str) -> list[Version]:
        """Every version, oldest first; empty for an unknown subject."""

    def is_compatible(self, subject: str, schema: str) -> bool:
        """Whether the schema may follow the registered ones."""

    def level(self, subject: str) -> str | None:
        """The subject's own compatibility level; None without one."""

    def set_level(self, subject: str, level: str) -> None:
        """Sets the subject's compatibility level, such as FULL_TRANSITIVE."""


def open_registry(settings: Settings) -> Registry | None:
    """The configured registry; None without one."""
    return ConfluentRegistry(settings) if settings.registry else None


class ConfluentRegistry:
    """A registry with the Confluent API; thread-safe. Its URL may hold a user and a password.

    confluent-kafka's own client takes a second of CPU to import and limits neither the size nor the time of a response.
    """

    def __init__(self, settings: Settings) -> None:
        """UsageError where SORBUS_REGISTRY_CONFIG can't be used."""
        headers = {"Accept": f"{_JSON}, application/json", "Content-Type": _JSON}
        self._client = registry_client(settings, timeout=5.0, headers=headers)

    def register(self, subject: str, schema: str) -> int:
        found = self._must(f"registering {subject}", "POST", f"/subjects/{_path(subject)}/versions", schema=schema)
        return _whole(found, "id")

    def schema(self, number: int) -> str | None:
        found = self._ask(f"asking for schema id {number}", "GET", f"/schemas/ids/{number}")
        return None if found is None else _text(found, "schema")

    def knows(self, subject: str, schema: str) -> bool:
        return self._ask(f"looking up {subject}", "POST", f"/subjects/{_path(subject)}", schema=schema) is not None

    def latest(self, subject: str) -> tuple[int, str] | None:
        found = self._version(subject, "latest")
        return None if found is None else (found.number, found.schema)

    def versions(self, subject: str) -> list[Version]:
        numbers = self._call(f"looking up {subject}", "GET", f"/subjects/{_path(subject)}/versions", None)
        listed = numbers if isinstance(numbers, list) else []
        found = [self._version(subject, str(number)) for number in listed]
        return [each for each in found if each is not None]

    def is_compatible(self, subject: str, schema: str) -> bool:
        path = f"/compatibility/subjects/{_path(subject)}/versions/latest"
        return self._must(f"comparing schemas of {subject}", "POST", path, schema=schema).get("is_compatible") is True

    def level(self, subject: str) -> str | None:
        found = self._ask(f"looking up {subject}", "GET", f"/config/{_path(subject)}")
        return None if found is None else _text(found, "compatibilityLevel")

    def set_level(self, subject: str, level: str) -> None:
        self._must(f"setting the compatibility of {subject}", "PUT", f"/config/{_path(subject)}", compatibility=level)

    def _version(self, subject: str, version: str) -> Version | None:
        found = self._ask(f"looking up {subject}", "GET", f"/subjects/{_path(subject)}/versions/{version}")
        if found is None:
            return None
        return Version(_whole(found, "version"), _whole(found, "id"), _text(found, "schema"))

    def _must(self, doing: str, method: str, path: str, **content: str) -> dict[str, JsonValue]:
        found = self._ask(doing, method, path, **content)
        if found is None:
            raise missing("registry", TransientError(f"{doing}: the schema registry doesn't know it yet"))
        return found

    def _ask(self, doing: str, method: str, path: str, **content: str) -> dict[str, JsonValue] | None:
        found = self._call(doing, method, path, content or None)
        if found is None or isinstance(found, dict):
            return found
        raise _unable(doing, f"it answers {json.dumps(found)[:100]}: is SORBUS_REGISTRY a schema registry?")

    def _call(self, doing: str, method: str, path: str, content: dict[str, str] | None) -> JsonValue:
        """A registry's answer; None for anything it reports as unknown. AuthError, SchemaError, TransientError."""
        try:
            request = self._client.build_request(method, path, json=content)
            for attempt in stamina.retry_context(on=_may_pass, attempts=3, wait_initial=0.1, wait_max=1.0):
                with attempt, bounded.within(LONGEST_CALL):
                    response, raw = bounded.read(self._client, request, largest=LARGEST_ANSWER)
                    if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR or _is_busy(response):
                        raise httpx.HTTPStatusError(_said(response, raw), request=request, response=response)
        except httpx.TransportError as error:
            where = way_to(request.url)
            raise _unable(doing, f"{where}: {connection_words(error)}") from error
        except (httpx.HTTPError, bounded.TooLarge, bounded.UnknownEncoding, OSError) as error:
            raise _unable(doing, str(error) or type(error).__name__) from error
        status = response.status_code
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise AuthError(f"{doing}: the schema registry denies access: {_said(response, raw)}")
        if status in (httpx.codes.CONFLICT, httpx.codes.UNPROCESSABLE_ENTITY):
            raise SchemaError(f"{doing}: {_said(response, raw)}")
        found = _parsed(raw)
        if status == httpx.codes.NOT_FOUND and isinstance(found, dict) and found.get("error_code") in _UNKNOWN:
            return None
        if not response.is_success or found is None:
            raise _unable(doing, f"{_said(response, raw)}: is SORBUS_REGISTRY a schema registry?")
        return found


def _whole(found: dict[str, JsonValue], name: str) -> int:
    number = found.get(name)
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= _LARGEST:
        return number
    raise _lacks(name)


def _text(found: dict[str, JsonValue], name: str) -> str:
    text = found.get(name)
    if isinstance(text, str):
        return text
    raise _lacks(name)


def _lacks(name: str) -> TransientError:
    return _unable("asking the schema registry", f"its answer holds no {name}: is SORBUS_REGISTRY a schema registry?")


def _path(subject: str) -> str:
    return quote(subject, safe="")


def _parsed(raw: bytes) -> JsonValue:
    try:
        return cast("JsonValue", json.loads(raw))
    except (ValueError, RecursionError):
        return None


def _said(response: httpx.Response, raw: bytes) -> str:
    """The registry's own message; else the status."""
    found = _parsed(raw)
    message = found.get("message") if isinstance(found, dict) else None
    return str(message)[:500] if message else f"{response.status_code} {response.reason_phrase}".strip()


def _is_busy(response: httpx.Response) -> bool:
    return response.status_code == httpx.codes.TOO_MANY_REQUESTS


def _may_pass(error: Exception) -> bool:
    return isinstance(error, httpx.TransportError | httpx.HTTPStatusError)


def _unable(doing: str, why: str) -> TransientError:
    return missing("registry", TransientError(f"{doing}: the schema registry can't answer: {why}"))
