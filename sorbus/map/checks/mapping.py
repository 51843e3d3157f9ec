"""Whether the sheets' rows are meaningful, rules compile, types fit, and everything required is filled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from sorbus.abilities import CatalogField, Resource
from sorbus.connector import BoundFlow, BoundSource
from sorbus.discovery import SupportsTargetSchema
from sorbus.errors import Finding
from sorbus.map.checks.bound import Bound
from sorbus.map.checks.types import misfits
from sorbus.mapfile.model import FieldMapping
from sorbus.mapping.assign import Assignment, read_source, read_target
from sorbus.mapping.field_refs import (
    CANONICAL,
    ID,
    FieldRef,
    canonical_data_type,
    canonical_fields,
    canonical_reference,
    column_reference,
    column_refs,
)
from sorbus.schema import FieldType, Kind
from sorbus.spelling import closest, near

Columns = Mapping[str, CatalogField]


def check_mapping(bound: Bound) -> Iterator[Finding]:
    """Findings about the mapping sheets, and about fields that nothing fills."""
    reported: set[FieldMapping] = set()
    for row in bound.loaded.mappings:
        if found := _row(bound, row):
            reported.add(row)
            yield found
    used: set[FieldMapping] = set()
    for source in bound.sources.values():
        yield from _source(bound, source, used)
    for place, flow in bound.flows.items():
        yield from _flow(bound, place, flow, used)
    for row in bound.loaded.mappings:
        if row not in used and row not in reported and (found := _unused(bound, row)):
            yield found


def _row(bound: Bound, row: FieldMapping) -> Finding | None:
    """The finding about a row on its own."""
    systems, data_types = bound.loaded.map.systems, bound.loaded.map.data_types
    sides = (row.source_system, row.target_system)
    if sides.count(CANONICAL) == 2:
        message, fix = "both sides are canonical, and one must be a system", "write a system of the map on one side"
        makes = canonical_data_type(row.target_field)
        if step := next((one for one in bound.loaded.map.steps if one.makes == makes), None):
            message = f"{step.id} makes {makes} of {step.source}, and the row reads {row.source_field}"
            fix = f"write {step.source}.FIELD for its Source Field"
        return Finding(row.file, row.line, message, fix, "no-canonical-side")
    for system in sides:
        if system != CANONICAL and system not in systems:
            message = f"no system is called {system!r}"
            return Finding(row.file, row.line, message, closest(system, systems), "unknown-system")
    reference = row.target_field if sides[1] == CANONICAL else row.source_field
    name = canonical_data_type(reference)
    if name not in data_types and (reference or sides[1] == CANONICAL):
        message = f"no data type is called {name!r}" if name else "the row has no Target Field"
        return Finding(row.file, row.line, message, closest(name, data_types), "unknown-data-type")
    if not row.target_field:
        return Finding(row.file, row.line, "the row has no Target Field", "write RESOURCE.COLUMN", "no-target")
    return None


def _source(bound: Bound, source: BoundSource, used: set[FieldMapping]) -> Iterator[Finding]:
    owner = bound.owners[source.name]
    resources = bound.loaded.producer(owner).resources_of(source.options)
    columns = dict(_columns(bound, owner, resources))
    path = ("data_types", source.name, "source")
    yield from _resources(bound, owner, resources, path)
    kinds: dict[str, dict[str, Kind | None]] = {
        part: {name: _kind(field) for name, field in fields.items()} for part, fields in columns.items()
    }
    reading = read_source(
        bound.loaded.mappings, owner, source.name, source.schema, resources, bound.loaded.map.lookups, kinds
    )
    used.update(reading.rows)
    for found in reading.findings:
        is_unknown = found.code == "unknown-column"
        yield replace(found, fix=_then(found.fix, _as_saved(bound, owner))) if is_unknown else found
    canonical = canonical_fields(source.schema)
    yield from _unknown_parts(bound, source.name, resources, canonical, path)
    broken = {row.target_field for row in reading.rows} - {
        item.row.target_field for items in reading.parts.values() for item in items if item.row
    }
    for part, items in reading.parts.items():
        there = columns.get(part)
        filled = {item.into for item in items if item.row or there is None or item.source in there}
        for item in items:
            given = there.get(item.source or "") if there is not None else None
            if item.into in canonical.get(part, {}) and item.into in filled:
                to = canonical[part][item.into]
                where = canonical_reference(FieldRef(part, item.into), source.name)
                line = _at(bound, item, path)
                yield from misfits(item, _described(given), to, where, line)
                if given is not None and item.rule is None and to.kind == "timestamp" and _lacks_zone(given):
                    message = f"{item.source} has no time zone, and {where} is a point in time"
                    fix = 'write the rule value | datetime(tz="Europe/London"), with the zone in which it is written'
                    yield Finding(line.file, line.line, message, fix, "no-time-zone")
        for name in _required(source, part, canonical.get(part, {})):
            place = FieldRef(part, name)
            reference = canonical_reference(place, source.name)
            if name not in filled and name not in resources and reference not in broken:
                like = near(name, there or ()) or "COLUMN"
                fix = f"add a row: {owner},{resources.get(part, part)}.{like},{CANONICAL},{reference}"
                message = f"nothing fills {reference}, and no {source.name} may be without it"
                yield bound.loaded.finding(("data_types", source.name), "unfilled", message, fix)


def _required(source: BoundSource, part: str, fields: Mapping[str, FieldType]) -> list[str]:
    """The canonical fields of a part that are required."""
    schema_fields = source.schema.fields
    if part:
        inner = source.schema.by_name[part].type.item if part in source.schema.by_name else None
        schema_fields = inner.fields if inner is not None else ()
    own = [] if part else [name for name in source.data_type.required if name in fields]
    return list(dict.fromkeys([*(field.name for field in schema_fields if field.required), *own]))


def _flow(bound: Bound, place: int, flow: BoundFlow, used: set[FieldMapping]) -> Iterator[Finding]:
    name, target = flow.flow.data_type, flow.flow.to
    connector = bound.loaded.consumer(target)
    resources = connector.resources_of(flow.options)
    reading = read_target(bound.loaded.mappings, target, name, flow.schema, resources, bound.loaded.map.lookups)
    used.update(reading.rows)
    yield from reading.findings
    path = ("flows", place, "target")
    canonical = canonical_fields(flow.schema)
    yield from _unknown_parts(bound, name, resources, canonical, path)
    if not isinstance(connector, SupportsTargetSchema) or connector.makes_tables(flow.options):
        return
    yield from _resources(bound, target, resources, path)
    own = connector.fills(flow.options)
    makes = getattr(flow.options, "creates", True)  # a target that only takes changes has its required values already
    for part, columns in _columns(bound, target, resources):
        named = (place for row in reading.rows for place in column_refs(row.target_field, resources))
        filled = {place.name for place in named if place.part == part} | set(own.get(part, ()))
        for item in reading.parts.get(part, ()):
            filled.add(item.into)
            reference = column_reference(FieldRef(part, item.into), resources)
            line = _at(bound, item, path)
            if item.into in columns:
                fields: Mapping[str, FieldType] = {**canonical.get(part, {}), ID: FieldType("string")}
                given = fields.get(item.source or "")
                if columns[item.into].read_only and item.row is not None:
                    message = f"{reference} is set by {target} itself"
                    yield Finding(line.file, line.line, message, "delete the row", "read-only")
                    continue
                yield from misfits(item, given, _described(columns[item.into]), reference, line)
            elif item.into not in own.get(part, ()) and (item.row is not None or item.into != ID):
                filled.add(near(item.into, columns))  # the slip is one finding, not two
                message = f"there is no column {reference}"
                fix = _then(closest(item.into, columns), _as_saved(bound, target))
                yield Finding(line.file, line.line, message, fix, "unknown-column")
        for column in columns.values():
            if makes and column.required and column.name not in filled:
                reference = column_reference(FieldRef(part, column.name), resources)
                like = near(column.name, canonical.get(part, {})) or "FIELD"
                field = canonical_reference(FieldRef(part, like), name)
                message = f"nothing fills {reference}, which {target} requires"
                fix = f"add a row: {CANONICAL},{field},{target},{reference}"
                if part and column.kind in ("int", "long"):
                    fix += f"; or write `position: {column.name}` where it counts the items"
                yield bound.loaded.finding(path, "unfilled", message, fix)


def _at(bound: Bound, item: Assignment, path: tuple[str | int, ...]) -> Finding:
    """The place of an assignment: its row, or the part of the map that asks for same-named fields."""
    if item.row is not None:
        return Finding(item.row.file, item.row.line, "", "")
    return bound.loaded.finding(path, "", "", "")


def _columns(bound: Bound, system: str, resources: Mapping[str, str]) -> Iterator[tuple[str, Columns]]:
    """Part -> column -> its catalog entry, for the resources in the catalog."""
    for part in resources:
        if (found := _resource(bound, system, resources[part])) is not None:
            yield part, {field.name: field for field in found.fields}


def _resource(bound: Bound, system: str, name: str) -> Resource | None:
    catalog = bound.catalogs.get(system)
    return catalog.find(name) if catalog is not None else None


def _as_saved(bound: Bound, system: str) -> str:
    """What to do if a system has changed since its catalog was written; empty if its connector describes it."""
    catalog = bound.catalogs.get(system)
    return f"If it is there by now: sorbus discover {system} --save" if catalog and catalog.file else ""


def _then(fix: str, more: str) -> str:
    """Two sentences of a fix."""
    return f"{fix}{'' if fix.endswith('?') else '.'} {more}" if more else fix


def _resources(
    bound: Bound, system: str, resources: Mapping[str, str], path: tuple[str | int, ...]
) -> Iterator[Finding]:
    """Resources that are missing in the system's catalog."""
    catalog = bound.catalogs.get(system)
    for name in resources.values():
        if catalog is not None and catalog.find(name) is None:
            new = f"sorbus discover {system} --save" if catalog.file else "add it in a description of your own"
            see = f" (see {catalog.file.name})" if catalog.file else ""
            fix = _then(closest(name, catalog.resources), f"If it is new: {new}")
            yield bound.loaded.finding(path, "unknown-resource", f"{system} has no {name}{see}", fix)


def _unknown_parts(
    bound: Bound,
    data_type: str,
    resources: Mapping[str, str],
    canonical: Mapping[str, object],
    path: tuple[str | int, ...],
) -> Iterator[Finding]:
    """Tables for lists that the data type doesn't have."""
    for part in resources:
        if part not in canonical:
            lists = [known for known in canonical if known]
            fix = closest(part, lists) if lists else f"{data_type} has no list of records: take it out"
            yield bound.loaded.finding(path, "unknown-field", f"{data_type} has no list called {part!r}", fix)


def _described(field: CatalogField | None) -> FieldType | None:
    """A catalog's field as a type; None if it takes anything, or is unknown."""
    if field is None or field.native in ("json", "jsonb"):
        return None
    item = FieldType(field.item) if field.item is not None else None
    return FieldType(field.kind, nullable=not field.required, item=item)


def _lacks_zone(field: CatalogField) -> bool:
    """Whether its values are clock times of a place that nobody has named."""
    return field.kind == "timestamp" and "without time zone" in field.native


def _kind(field: CatalogField) -> Kind | None:
    described = _described(field)
    return described.kind if described is not None else None


def _unused(bound: Bound, row: FieldMapping) -> Finding | None:
    """Why nothing reads a row, if known."""
    written = bound.loaded.map
    if row.target_system == CANONICAL:
        name = canonical_data_type(row.target_field)
        source = bound.sources.get(name)
        if source is None or bound.owners.get(name) != row.source_system:
            return None
        resources = bound.loaded.producer(row.source_system).resources_of(source.options)
        return _elsewhere(row, row.source_field, list(resources.values()))
    name = canonical_data_type(row.source_field)
    flows = [
        (place, flow)
        for place, flow in enumerate(written.flows)
        if flow.to == row.target_system and name in (flow.data_type, "")
    ]
    if not flows:
        what = name or "anything"
        message = f"nothing reads this row: no flow brings {what} to {row.target_system}"
        fix = f"add a flow (data_type: {what}, to: {row.target_system}), or delete the row"
        return Finding(row.file, row.line, message, fix, "unused-row")
    if any(not flow.runs or place not in bound.flows for place, flow in flows):
        return None
    connector = bound.loaded.consumer(row.target_system)
    found = [connector.resources_of(bound.flows[place].options).values() for place, _ in flows]
    return _elsewhere(row, row.target_field, [name for names in found for name in names])


def _elsewhere(row: FieldMapping, reference: str, resources: list[str]) -> Finding:
    words = reference.split(".")
    best = near(".".join(words[:-1]).removesuffix("[]"), resources) or near(words[0], resources)
    column = words[min(best.count(".") + 1, len(words) - 1) :] if best else words[-1:]
    whole = ".".join([best or resources[0], *column])
    message = f"nothing reads this row: {reference} is in none of {', '.join(resources)}"
    return Finding(row.file, row.line, message, f"write {whole}, or delete the row", "unused-row")
