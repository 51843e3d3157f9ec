"""A data type's schema beside the map, and every version of it that the registry has."""

from __future__ import annotations

from dataclasses import dataclass

from sorbus.bus.names import Names
from sorbus.bus.registry import open_registry
from sorbus.errors import SchemaError, SorbusError, UsageError
from sorbus.event import record_inside
from sorbus.map.loaded import LoadedMap
from sorbus.schema import RecordSchema, parse_schema
from sorbus.schema_evolution import Compatibility, SchemaChange, changes_between
from sorbus.settings import Settings


@dataclass(frozen=True, slots=True)
class Registered:
    """A version in the registry: number, schema id, the record's schema."""

    number: int
    id: int
    schema: RecordSchema


def registered(loaded: LoadedMap, settings: Settings, data_type: str) -> list[Registered]:
    """Every version, oldest first; none without a registry. TransientError, AuthError."""
    registry = open_registry(settings)
    if registry is None:
        return []
    subject = Names(loaded.map.topic_prefix).subject(data_type)
    return [
        Registered(each.number, each.id, record_inside(parse_schema(each.schema, where=f"{subject} {each.number}")))
        for each in registry.versions(subject)
    ]


def version_of(versions: list[Registered], number: int | None, data_type: str) -> Registered:
    """The version with that number, or the newest. SorbusError where there is none."""
    if not versions:
        raise SorbusError(
            f"no version of {data_type} is registered; see SORBUS_REGISTRY, or compare with --against FILE"
        )
    for each in versions:
        if number in (None, each.number):
            return versions[-1] if number is None else each
    known = ", ".join(str(each.number) for each in versions)
    raise SorbusError(f"{data_type} has no version {number}; there are {known}")


def misfits(schema: RecordSchema, before: list[Registered], rule: Compatibility) -> list[tuple[str, SchemaChange]]:
    """The changes that break the rule, each with the version they break it with; those of an older one only once."""
    found: dict[SchemaChange, str] = {}
    for each in reversed(before):
        for change in changes_between(each.schema, schema):
            if not change.fits(rule):
                found.setdefault(change, f"version {each.number}")
    return [(where, change) for change, where in found.items()]


def rule_of(loaded: LoadedMap, data_type: str) -> Compatibility:
    """The data type's compatibility rule. SorbusError for one that isn't in the map."""
    if data_type not in loaded.map.data_types:
        raise UsageError(f"the map has no data type {data_type!r}: {', '.join(loaded.map.data_types)}")
    return loaded.map.data_types[data_type].compatibility


def faults_of(loaded: LoadedMap, data_type: str) -> list[str]:
    """What is wrong with a schema file by itself; a company's own need not keep to our namespace, but to its name."""
    try:
        schema = loaded.schema(data_type)
    except SchemaError as error:
        return [str(error)]
    found = []
    named = loaded.map.data_types[data_type].schema_name or data_type
    if schema.name != named:
        found.append(f"the record is named {schema.name!r}; name it {named!r} as its file")
    if not schema.doc:
        found.append("the record has no doc: say what it is")
    found += [f"{path}: no doc: say what it holds" for path, field in schema.leaves() if not field.doc]
    found += [
        f"{path}: may be null, so its default must be null: a reader of older events has none otherwise"
        for path, field in schema.leaves()
        if field.type.nullable and not (field.has_default and field.default is None)
    ]
    return found
