"""Whether two-way flows can run: a rule for each field, a way there and a way back, systems that tell their writers."""

from __future__ import annotations

from collections.abc import Iterator

from sorbus.abilities import LimitsTwoWay, TellsDeliveries
from sorbus.errors import Finding
from sorbus.map.checks.bound import Bound
from sorbus.mapping.field_refs import CANONICAL, canonical_data_type, canonical_ref
from sorbus.schema import RecordSchema
from sorbus.spelling import closest
from sorbus.timing.duration import parse_duration
from sorbus.two_way.expand import TwoWay


def check_two_way(bound: Bound) -> Iterator[Finding]:
    """Findings about two-way data types."""
    written = bound.loaded.as_written.map
    for name, data_type in written.data_types.items():
        two_way = bound.loaded.two_way.get(name)
        if two_way is None:
            for key in ("field_owners", "merge"):
                if getattr(data_type, key):
                    message = f"{name} has {key}, and no two-way flow: {data_type.system_of_record} owns all its fields"
                    fix = f"delete {key}, or write direction: two-way under a flow of {name}"
                    yield bound.loaded.finding(("data_types", name, key), "contradiction", message, fix)
            continue
        yield from _names(bound, two_way)
        yield from _tolerance(bound, two_way)
        yield from _kinds(bound, two_way)
        if (schema := bound.schemas.get(name)) is not None:
            yield from _rules(bound, two_way, schema)
            yield from _ways(bound, two_way, schema)
    for place, flow in enumerate(written.flows):
        two_way = bound.loaded.two_way.get(flow.data_type)
        if two_way is not None and two_way.flows.get(flow.to) is flow and not two_way.proposed[flow.to]:
            message = f"{flow.id} is two-way, and no row of a sheet takes a field from {flow.to}: nothing comes back"
            fix = f"write rows from {flow.to} to canonical, or direction: one-way"
            yield bound.loaded.finding(("flows", place, "direction"), "unmapped", message, fix)
        if two_way is not None and flow.direction == "two-way" and flow.runs and flow.to in two_way.flows:
            other = two_way.flows[flow.to]
            if other is not flow:
                message = f"{flow.id} and {other.id} are both two-way with {flow.to}: only one of them would be read"
                fix = "write direction: one-way under one of them"
                yield bound.loaded.finding(("flows", place, "direction"), "unsupported", message, fix)
        if flow.direction == "two-way" and flow.where:
            message = f"{flow.id} has where: and is two-way: a record that left could be changed there and never return"
            fix = "delete where:, or write direction: one-way"
            yield bound.loaded.finding(("flows", place, "where"), "unsupported", message, fix)
        if flow.direction == "one-way" and flow.proposals:
            message = f"{flow.id} has proposals:, and is one-way: nothing is read from {flow.to}"
            fix = "delete proposals:, or write direction: two-way"
            yield bound.loaded.finding(("flows", place, "proposals"), "contradiction", message, fix)


def _names(bound: Bound, two_way: TwoWay) -> Iterator[Finding]:
    written = bound.loaded.as_written.map
    for made in (two_way.merge, *map(two_way.proposals, two_way.systems)):
        for kind, known in (("systems", written.systems), ("data_types", written.data_types)):
            if made in known:
                message = f"{made} is what Sorbus calls a part of the two-way data type {two_way.data_type}"
                yield bound.loaded.finding((kind, made), "double-name", message, "give it another name")


def _tolerance(bound: Bound, two_way: TwoWay) -> Iterator[Finding]:
    try:
        parse_duration(two_way.written.clock_tolerance)
    except ValueError as error:
        path = ("data_types", two_way.data_type, "clock_tolerance")
        yield bound.loaded.finding(path, "bad-value", f"clock_tolerance: {error}", "write 5s")


def _kinds(bound: Bound, two_way: TwoWay) -> Iterator[Finding]:
    loaded = bound.loaded
    for system in two_way.systems:
        kind = loaded.map.systems[system].kind
        if bound.attempt(lambda system=system: loaded.producer(system)) is None:  # type: ignore[misc]
            continue
        producer = loaded.producer(system)
        if isinstance(producer, LimitsTwoWay):
            yield from _limits(bound, two_way, system, producer)
        if not isinstance(producer, TellsDeliveries):
            message = (
                f"{two_way.data_type} can't be two-way with {system}: of systems of kind {kind} Sorbus can't tell yet"
                " what it wrote itself from what people changed"
            )
            fix = "write direction: one-way; systems of kinds postgres and http can be two-way"
            yield loaded.finding(("systems", system, "kind"), "unsupported", message, fix)
    source = two_way.written.source
    lists = [name for name, place in [("source", source), *((f.id, f.target) for f in two_way.flows.values())]
             if place.get("children") or place.get("lists")]  # fmt: skip
    for name in lists:
        message = (
            f"{two_way.data_type} is two-way and has lists in tables of their own ({name}): they can't be merged yet"
        )
        yield loaded.finding(("data_types", two_way.data_type), "unsupported", message, "write direction: one-way")


def _limits(bound: Bound, two_way: TwoWay, system: str, producer: LimitsTwoWay) -> Iterator[Finding]:
    loaded, source = bound.loaded, bound.sources.get(two_way.proposals(system))
    connected = bound.attempt(lambda: loaded.system(system, "producer"))
    if source is not None and connected is not None and (why := producer.why_one_way(connected, source)):
        message = (
            f"{two_way.data_type} can't be two-way with {system}: Sorbus can't tell what it wrote itself from what"
            f" people changed, since {why}"
        )
        fix = "add it to a description of your own, or write direction: one-way"
        yield loaded.finding(("systems", system), "unsupported", message, fix)


def _rules(bound: Bound, two_way: TwoWay, schema: RecordSchema) -> Iterator[Finding]:
    """Each field that may be changed by another system than the system of record needs a rule, and has one."""
    written, name = two_way.written, two_way.data_type
    for field, rule in written.merge.items():
        path = ("data_types", name, "merge", field)
        if field not in schema.by_name:
            message = f"merge: {name} has no field {field!r}"
            yield bound.loaded.finding(path, "unknown-field", message, closest(field, schema.by_name))
        elif field in written.field_owners:
            message = f"{name}.{field} has an owner and a rule to merge it"
            yield bound.loaded.finding(path, "contradiction", message, "keep one of them")
        elif rule == "union" and schema.by_name[field].type.kind != "array":
            message = f"{name}.{field} is no list: a union can't be made of it"
            yield bound.loaded.finding(path, "bad-value", message, "write latest or ask")
    for field, owner in written.field_owners.items():
        path = ("data_types", name, "field_owners", field)
        if owner in bound.loaded.as_written.map.systems and owner not in two_way.systems:
            message = f"{name}.{field} is owned by {owner}, to which no two-way flow of {name} goes"
            fix = f"write a flow to {owner} with direction: two-way"
            yield bound.loaded.finding(path, "not-owner", message, fix)
    for system in two_way.flows:
        for field in sorted(two_way.proposed[system]):
            if field in written.merge or field in written.field_owners or field not in schema.by_name:
                continue
            row = next(
                row
                for row in bound.loaded.mappings
                if (row.source_system, row.target_system) == (system, CANONICAL)
                and canonical_ref(row.target_field).name == field
                and canonical_data_type(row.target_field) == two_way.proposals(system)
            )
            message = f"{system} may change {name}.{field}, and no rule says whose change counts"
            fix = (
                f"under data_types: {name}: write merge: {{{field}: latest}} (or union, ask), or field_owners:"
                f" {{{field}: {system}}}, or delete the row"
            )
            yield Finding(row.file, row.line, message, fix, "no-rule")


def _ways(bound: Bound, two_way: TwoWay, schema: RecordSchema) -> Iterator[Finding]:
    """What one system may change must be read from it, and written to the others."""
    written, name = two_way.written, two_way.data_type
    for field, owner in written.field_owners.items():
        if owner in two_way.flows and field not in two_way.proposed[owner]:
            message = f"{name}.{field} is owned by {owner}, and no row takes it from there"
            fix = f"write a row from {owner} to canonical {name}.{field}"
            yield bound.loaded.finding(("data_types", name, "field_owners", field), "unmapped", message, fix)
    for field in (*written.merge, *written.field_owners):
        if field not in schema.by_name:
            continue
        for system in two_way.systems:
            if written.field_owners.get(field) == system or _is_written(bound, name, field, system):
                continue
            message = f"{name}.{field} may be changed elsewhere, and no row brings it to {system}"
            fix = f"write a row from canonical {name}.{field} to {system}"
            path = ("data_types", name, "merge" if field in written.merge else "field_owners", field)
            yield bound.loaded.finding(path, "unmapped", message, fix)


def _is_written(bound: Bound, data_type: str, field: str, system: str) -> bool:
    return any(
        (row.source_system, row.target_system) == (CANONICAL, system)
        and canonical_data_type(row.source_field) == data_type
        and canonical_ref(row.source_field).name == field
        for row in bound.loaded.mappings
    )
