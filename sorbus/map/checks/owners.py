"""Whether each data type has one owner, and no other system feeds it."""

from __future__ import annotations

from collections.abc import Iterator

from sorbus.errors import Finding
from sorbus.map.checks.bound import Bound
from sorbus.mapping.field_refs import CANONICAL, canonical_data_type
from sorbus.schema import RecordSchema
from sorbus.spelling import closest


def check_owners(bound: Bound) -> Iterator[Finding]:
    """Findings about systems of record, per-field owners, and fields that data types name."""
    for name in bound.loaded.map.data_types:
        yield from _system_of_record(bound, name)
        yield from _field_owners(bound, name)
        if (schema := bound.schemas.get(name)) is not None:
            yield from _named_fields(bound, name, schema)
    yield from _foreign_rows(bound)


def _system_of_record(bound: Bound, name: str) -> Iterator[Finding]:
    owner = bound.loaded.map.data_types[name].system_of_record
    systems = bound.loaded.map.systems
    path = ("data_types", name, "system_of_record")
    if owner is None:
        feeding = _feeding(bound, name)
        fix = f"write system_of_record: {(feeding or sorted(systems) or ['SYSTEM'])[0]}"
        yield bound.loaded.finding(path, "no-owner", f"{name} has no system of record", fix)
    elif isinstance(owner, list):
        first = next((system for system in owner if system in systems), owner[0] if owner else "SYSTEM")
        fix = f"write system_of_record: {first}"
        if len(owner) > 1:
            fix += f"; what {owner[1]} owns can be a data type of its own"
            message = f"{name} has {len(owner)} systems of record ({', '.join(owner)}), and must have one"
        else:
            message = f"{name} has a list for its system of record"
        yield bound.loaded.finding(path, "two-owners", message, fix)
        for system in owner:
            if system not in systems:
                message = f"{name}: no system is called {system!r}"
                yield bound.loaded.finding(path, "unknown-system", message, closest(system, systems))
    elif owner not in systems:
        message = f"{name}: no system is called {owner!r}"
        yield bound.loaded.finding(path, "unknown-system", message, closest(owner, systems))


def _field_owners(bound: Bound, name: str) -> Iterator[Finding]:
    for field, system in bound.loaded.map.data_types[name].field_owners.items():
        path = ("data_types", name, "field_owners", field)
        if system not in bound.loaded.map.systems:
            message = f"{name}.{field}: no system is called {system!r}"
            yield bound.loaded.finding(path, "unknown-system", message, closest(system, bound.loaded.map.systems))


def _named_fields(bound: Bound, name: str, schema: RecordSchema) -> Iterator[Finding]:
    data_type = bound.loaded.map.data_types[name]
    named: list[tuple[tuple[str | int, ...], str]] = [
        *((("data_types", name, "field_owners", field), field) for field in data_type.field_owners),
        *((("data_types", name, "required", place), field) for place, field in enumerate(data_type.required)),
        *((("data_types", name, "match", place), field) for place, field in enumerate(data_type.match)),
    ]
    for path, field in named:
        if field not in schema.by_name:
            message = f"{path[2]}: {name} has no field {field!r}"
            yield bound.loaded.finding(path, "unknown-field", message, closest(field, schema.by_name))


def _foreign_rows(bound: Bound) -> Iterator[Finding]:
    """Rows that derive a data type from a system other than its owner."""
    for row in bound.loaded.mappings:
        name = canonical_data_type(row.target_field)
        owner = bound.owners.get(name)
        if row.target_system != CANONICAL or owner is None or row.source_system not in bound.loaded.map.systems:
            continue
        if row.source_system not in (owner, CANONICAL):
            message = f"{row.source_system} feeds {row.target_field}, but {owner} owns {name}"
            fix = f"delete the row, or write {owner} for its Source System"
            yield Finding(row.file, row.line, message, fix, "not-owner")


def _feeding(bound: Bound, name: str) -> list[str]:
    """The systems that `name` comes from according to the sheets."""
    rows = (row for row in bound.loaded.mappings if row.target_system == CANONICAL)
    found = (row.source_system for row in rows if canonical_data_type(row.target_field) == name)
    return [system for system in dict.fromkeys(found) if system in bound.loaded.map.systems]
