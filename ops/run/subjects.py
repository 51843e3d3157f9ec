"""What the schema registry must know before a producer publishes, and whether a changed schema is compatible."""

from __future__ import annotations

from itertools import zip_longest

import httpx
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from sorbus.bus.names import Names
from sorbus.bus.registry import registry_client, registry_error
from sorbus.connector import Step
from sorbus.errors import SchemaError
from sorbus.event import envelope_schema, record_inside
from sorbus.map.load import LoadedMap
from sorbus.schema import RecordSchema, parse_schema
from sorbus.settings import Settings

COMPATIBILITY = "FULL_TRANSITIVE"
"""A topic keeps old events for ever, and readers and writers change at different times: both ways, all versions."""


def plan_subjects(loaded: LoadedMap, settings: Settings) -> list[Step]:
    """What has to change in the registry; nothing without one. SchemaError shows both schemas if they don't fit."""
    if not settings.registry:
        return []
    client = registry_client(settings)
    names = Names(loaded.map.topic_prefix)
    steps = []
    for data_type in loaded.map.data_types:
        subject = names.subject(data_type)
        try:
            steps += _plan_subject(client, subject, loaded.schema(data_type))
        except (SchemaRegistryError, httpx.HTTPError, OSError) as error:
            raise registry_error(error, f"looking up {subject}") from error
    return steps


def _plan_subject(client: SchemaRegistryClient, subject: str, schema: RecordSchema) -> list[Step]:
    wanted = Schema(envelope_schema(schema).text, "AVRO")
    steps = []
    latest = _latest(client, subject)
    if latest is None:
        steps.append(_register(client, subject, wanted, "register its first schema"))
    elif not _is_known(client, subject, wanted):
        number, text = latest
        if not client.test_compatibility(subject, wanted):
            raise SchemaError(_incompatible(subject, number, text, schema))
        steps.append(_register(client, subject, wanted, f"register a version after {number}; compatible"))
    if latest is None or _level(client, subject) != COMPATIBILITY:
        steps.append(_set_level(client, subject))
    return steps


def _register(client: SchemaRegistryClient, subject: str, schema: Schema, what: str) -> Step:
    def register() -> None:
        try:
            client.register_schema(subject, schema)
        except (SchemaRegistryError, httpx.HTTPError, OSError) as error:
            raise registry_error(error, f"registering {subject}") from error

    return Step("registry", f"subject {subject}", what, register)


def _set_level(client: SchemaRegistryClient, subject: str) -> Step:
    def set_level() -> None:
        try:
            client.set_compatibility(subject_name=subject, level=COMPATIBILITY)
        except (SchemaRegistryError, httpx.HTTPError, OSError) as error:
            raise registry_error(error, f"setting the compatibility of {subject}") from error

    return Step("registry", f"subject {subject}", f"compatibility {COMPATIBILITY}", set_level)


def _is_known(client: SchemaRegistryClient, subject: str, schema: Schema) -> bool:
    try:
        client.lookup_schema(subject, schema)
    except SchemaRegistryError as error:
        if error.http_status_code == httpx.codes.NOT_FOUND:
            return False
        raise
    return True


def _latest(client: SchemaRegistryClient, subject: str) -> tuple[int, str] | None:
    try:
        found = client.get_latest_version(subject)
    except SchemaRegistryError as error:
        if error.http_status_code == httpx.codes.NOT_FOUND:
            return None
        raise
    text = found.schema.schema_str if found.schema is not None else None
    return found.version or 0, text or ""


def _level(client: SchemaRegistryClient, subject: str) -> str:
    try:
        return str(client.get_compatibility(subject))
    except SchemaRegistryError as error:
        if error.http_status_code == httpx.codes.NOT_FOUND:
            return ""
        raise


def _incompatible(subject: str, number: int, text: str, schema: RecordSchema) -> str:
    before = _lines(record_inside(parse_schema(text, where=subject)))
    after = _lines(schema)
    names = list(dict.fromkeys([*before, *after]))
    left = [f"registered (version {number})", *(before.get(name, "") for name in names)]
    right = ["the map's", *(after.get(name, "") for name in names)]
    width = max(len(line) for line in left)
    rows = [
        f"    {a:<{width}} {'|' if a == b or not place else '!'} {b}"
        for place, (a, b) in enumerate(zip_longest(left, right, fillvalue=""))
    ]
    return "\n".join(
        [
            f"{subject}: the schema of {schema.name} is not compatible with the one in use ({COMPATIBILITY}):",
            *rows,
            "  Take the change back or make it compatible: new fields need a default, no field without one may go.",
        ]
    )


def _lines(schema: RecordSchema) -> dict[str, str]:
    found = {}
    for path, item in schema.leaves():
        default = f" = {item.default}" if item.has_default else ""
        symbols = f" {'/'.join(item.type.symbols)}" if item.type.symbols else ""
        found[path] = f"{path}: {item.type}{symbols}{default}"
    return found
