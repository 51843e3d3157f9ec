"""What the schema registry must know before a producer publishes, and whether a changed schema is compatible."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import zip_longest

from sorbus.bus.names import Names
from sorbus.bus.registry import Registry, open_registry
from sorbus.bus.schema_history import SchemaHistory, schema_history
from sorbus.connector import Step
from sorbus.errors import SchemaError
from sorbus.event import envelope_schema, record_inside
from sorbus.map.loaded import LoadedMap
from sorbus.schema import RecordSchema, parse_schema
from sorbus.schema_evolution import Compatibility, changes_between
from sorbus.settings import Settings

_log = logging.getLogger(__name__)
LEVELS: dict[Compatibility, str] = {
    "backward": "BACKWARD_TRANSITIVE",
    "forward": "FORWARD_TRANSITIVE",
    "full": "FULL_TRANSITIVE",
}
"""Always with all versions: a topic keeps old events for ever, and readers and writers change at different times."""


def plan_subjects(loaded: LoadedMap, settings: Settings) -> list[Step]:
    """What has to change in the registry; nothing without one. SchemaError shows both schemas if they don't fit."""
    registry = open_registry(settings)
    if registry is None:
        return []
    names = Names(loaded.map.topic_prefix)
    history = schema_history(settings, names)
    steps = []
    for data_type in loaded.map.data_types:
        rule = loaded.map.data_types[data_type].compatibility
        steps += _plan_subject(registry, history, names.subject(data_type), loaded.schema(data_type), rule)
    return steps


def _plan_subject(
    registry: Registry, history: SchemaHistory, subject: str, schema: RecordSchema, rule: Compatibility
) -> list[Step]:
    wanted, level = envelope_schema(schema).text, LEVELS[rule]
    latest = registry.latest(subject)
    if latest is None:
        if lost := [each.text for each in history.of_subject(subject)]:
            return [_restore(registry, subject, lost, wanted), _set_level(registry, subject, level)]
        first = _register(registry, subject, wanted, "register its first schema")
        return [first, _set_level(registry, subject, level)]
    is_set = registry.level(subject) == level
    steps = [] if is_set else [_set_level(registry, subject, level)]
    if not registry.knows(subject, wanted):
        number, text = latest
        # The registry judges by the level that it has now, and takes no notice of logical types: a decimal's scale.
        judged = [text] if is_set else [each.schema for each in registry.versions(subject)]
        fits = not _misfits(judged, subject, schema, rule) and (not is_set or registry.is_compatible(subject, wanted))
        if not fits:
            raise SchemaError(_incompatible(subject, number, text, schema, level))
        steps.append(_register(registry, subject, wanted, f"register a version after {number}; compatible"))
    return steps


def _misfits(registered: Sequence[str], subject: str, schema: RecordSchema, rule: Compatibility) -> bool:
    found = [parse_schema(text, where=subject) for text in registered]
    return any(not change.fits(rule) for each in found for change in changes_between(record_inside(each), schema))


def _register(registry: Registry, subject: str, schema: str, what: str) -> Step:
    def register() -> None:
        registry.register(subject, schema)

    return Step("registry", f"subject {subject}", what, register)


def _restore(registry: Registry, subject: str, lost: Sequence[str], wanted: str) -> Step:
    """The registry was emptied: older versions too, since new ones must be compatible with what is on the topic."""

    def restore() -> None:
        for text in lost:
            try:
                registry.register(subject, text)
            except SchemaError as error:  # the rule was another one then
                _log.warning("%s: a version isn't registered again: %s", subject, error)
        registry.register(subject, wanted)

    many = f"{len(lost)} schema{'s' if len(lost) > 1 else ''}"
    what = f"register its {many} again, which the registry has lost (docs/runbooks/registry-emptied.md)"
    return Step("registry", f"subject {subject}", what, restore)


def _set_level(registry: Registry, subject: str, level: str) -> Step:
    def set_level() -> None:
        registry.set_level(subject, level)

    return Step("registry", f"subject {subject}", f"compatibility {level}", set_level)


def _incompatible(subject: str, number: int, text: str, schema: RecordSchema, level: str) -> str:
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
            f"{subject}: the schema of {schema.name} is not compatible with the one in use ({level}):",
            *rows,
            "  Take the change back or make it compatible: new fields need a default, no field without one may go."
            f" Field by field: sorbus schemas diff {schema.name}",
            "  While nothing is published yet: docs/schema-changes.md, Before the first record.",
        ]
    )


def _lines(schema: RecordSchema) -> dict[str, str]:
    found = {}
    for path, item in schema.leaves():
        default = f" = {item.default}" if item.has_default else ""
        symbols = f" {'/'.join(item.type.symbols)}" if item.type.symbols else ""
        found[path] = f"{path}: {item.type}{symbols}{default}"
    return found
