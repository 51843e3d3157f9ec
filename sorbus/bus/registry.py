"""The schema registry: what Sorbus asks of one, and the one it speaks to (the Confluent API, which Apicurio has too).

A second product is a second class with these methods and a line in `open_registry`. The frame that names a schema on
the wire is `sorbus.event`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import httpx
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

# Which HTTP library the client speaks through (httpx or httpx2) is its own choice; the errors are that library's.
from confluent_kafka.schema_registry._sync import schema_registry_client as client
from confluent_kafka.schema_registry.error import SchemaRegistryError

from sorbus.errors import AuthError, SchemaError, SorbusError, TransientError, missing
from sorbus.settings import Settings


class Version(NamedTuple):
    """One version of a subject: its number, the schema's id, the schema as Avro JSON."""

    number: int
    id: int
    schema: str


class Registry(Protocol):
    """Every call may raise TransientError or AuthError; a schema is Avro JSON as text."""

    def register(self, subject: str, schema: str) -> int:
        """The schema's id under `subject`, new or as it was. SchemaError when it isn't compatible."""

    def schema(self, number: int) -> str | None:
        """The schema with that id; None when there is none."""

    def knows(self, subject: str, schema: str) -> bool:
        """Whether the schema is registered under `subject`."""

    def latest(self, subject: str) -> tuple[int, str] | None:
        """The newest version's number and schema; None for an unknown subject."""

    def versions(self, subject: str) -> list[Version]:
        """Every version, oldest first; none for an unknown subject."""

    def is_compatible(self, subject: str, schema: str) -> bool:
        """Whether the schema may follow those that are there."""

    def level(self, subject: str) -> str | None:
        """The subject's own compatibility level; None when it has none."""

    def set_level(self, subject: str, level: str) -> None:
        """Sets the subject's compatibility level, such as FULL_TRANSITIVE."""


def open_registry(settings: Settings) -> Registry | None:
    """The configured registry; None without one."""
    return ConfluentRegistry(settings.registry) if settings.registry else None


class ConfluentRegistry:
    """A registry with the Confluent API, through confluent-kafka's own client."""

    def __init__(self, url: str) -> None:
        self._client = SchemaRegistryClient({"url": url, "max.retries": 2})

    def register(self, subject: str, schema: str) -> int:
        with _errors(f"registering {subject}"):
            return self._client.register_schema(subject, Schema(schema, "AVRO"))

    def schema(self, number: int) -> str | None:
        with _errors(f"asking for schema id {number}"):
            try:
                return self._client.get_schema(number).schema_str
            except SchemaRegistryError as error:
                _only_unknown(error)
                return None

    def knows(self, subject: str, schema: str) -> bool:
        with _errors(f"looking up {subject}"):
            try:
                self._client.lookup_schema(subject, Schema(schema, "AVRO"))
            except SchemaRegistryError as error:
                _only_unknown(error)
                return False
            return True

    def latest(self, subject: str) -> tuple[int, str] | None:
        with _errors(f"looking up {subject}"):
            try:
                found = self._client.get_latest_version(subject)
            except SchemaRegistryError as error:
                _only_unknown(error)
                return None
            text = found.schema.schema_str if found.schema is not None else None
            return found.version or 0, text or ""

    def versions(self, subject: str) -> list[Version]:
        with _errors(f"looking up {subject}"):
            try:
                found = [self._client.get_version(subject, number) for number in self._client.get_versions(subject)]
            except SchemaRegistryError as error:
                _only_unknown(error)
                return []
        return [
            Version(each.version or 0, each.schema_id or 0, (each.schema.schema_str if each.schema else None) or "")
            for each in found
        ]

    def is_compatible(self, subject: str, schema: str) -> bool:
        with _errors(f"comparing schemas of {subject}"):
            return self._client.test_compatibility(subject, Schema(schema, "AVRO"))

    def level(self, subject: str) -> str | None:
        with _errors(f"looking up {subject}"):
            try:
                return str(self._client.get_compatibility(subject))
            except SchemaRegistryError as error:
                _only_unknown(error)
                return None

    def set_level(self, subject: str, level: str) -> None:
        with _errors(f"setting the compatibility of {subject}"):
            self._client.set_compatibility(subject_name=subject, level=level)


def _only_unknown(error: SchemaRegistryError) -> None:
    """A 404 is an answer; any other failure goes on."""
    if error.http_status_code != httpx.codes.NOT_FOUND:
        raise error


@contextmanager
def _errors(doing: str) -> Iterator[None]:
    try:
        yield
    except (SchemaRegistryError, client.httpx.HTTPError, OSError) as error:
        raise _as_error(error, doing) from error


def _as_error(error: Exception, doing: str) -> SorbusError:
    if isinstance(error, SchemaRegistryError):
        if error.http_status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return AuthError(f"{doing}: the schema registry refuses us: {error.error_message}")
        if error.http_status_code in (httpx.codes.CONFLICT, httpx.codes.UNPROCESSABLE_ENTITY):
            return SchemaError(f"{doing}: {error.error_message}")
    return missing("registry", TransientError(f"{doing}: the schema registry can't answer: {error}"))
