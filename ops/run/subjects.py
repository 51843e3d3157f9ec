"""What the schema registry must know before a producer publishes, and whether a changed schema is compatible."""

from __future__ import annotations

from itertools import zip_longest

from sorbus.bus.names import Names
from sorbus.bus.registry import Registry, open_registry
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
    registry = open_registry(settings)
    if registry is None:
        return []
    names = Names(loaded.map.topic_prefix)
    steps = []
    for data_type in loaded.map.data_types:
        steps += _plan_subject(registry, names.subject(data_type), loaded.schema(data_type))
    return steps


def _plan_subject(registry: Registry, subject: str, schema: RecordSchema) -> list[Step]:
    wanted = envelope_schema(schema).text
    steps = []
    latest = registry.latest(subject)
    if latest is None:
        steps.append(_register(registry, subject, wanted, "register its first schema"))
    elif not registry.knows(subject, wanted):
        number, text = latest
        if not registry.is_compatible(subject, wanted):
            raise SchemaError(_incompatible(subject, number, text, schema))
        steps.append(_register(registry, subject, wanted, f"register a version after {number}; compatible"))
    if latest is None or registry.level(subject) != COMPATIBILITY:
        steps.append(_set_level(registry, subject))
    return steps


def _register(registry: Registry, subject: str, schema: str, what: str) -> Step:
    def register() -> None:
        registry.register(subject, schema)

    return Step("registry", f"subject {subject}", what, register)


def _set_level(registry: Registry, subject: str) -> Step:
    def set_level() -> None:
        registry.set_level(subject, COMPATIBILITY)

    return Step("registry", f"subject {subject}", f"compatibility {COMPATIBILITY}", set_level)


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
