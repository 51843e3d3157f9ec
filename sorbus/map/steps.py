"""Process steps as systems: each owns the data type that it makes, and its producer reads the other one's topic.

So a made data type has a topic, flows, dead letters and a process like every other. What can't be such a system is
left as it is written, for `sorbus.map.checks.steps` to report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from sorbus.abilities import CatalogField, Resource
from sorbus.mapfile.document import Document
from sorbus.mapfile.model import STEP, DataType, FieldMapping, Map, ProcessStep, System
from sorbus.mapping.condition import compile_condition, compile_expression
from sorbus.mapping.errors import RuleError
from sorbus.mapping.field_refs import CANONICAL, canonical_data_type, canonical_ref
from sorbus.mapping.rule import Rule
from sorbus.schema import Kind, RecordSchema, SchemaField

Lookups = Mapping[str, Mapping[str, str]]


def with_steps(company: Map, document: Document, rows: Iterable[FieldMapping]) -> tuple[Map, tuple[FieldMapping, ...]]:
    """The map with a system for each step, and the sheets' rows with it in place of their first `canonical`."""
    systems, types = dict(company.systems), dict(company.data_types)
    steps: dict[str, ProcessStep] = {}
    for step in company.steps:
        if step.id not in systems and step.makes not in steps and _is_free(types.get(step.makes), step):
            steps[step.makes] = step
            systems[step.id] = System(kind=STEP, owner=step.owner, notes=step.notes)
    if not steps:
        return company, tuple(rows)
    lists: dict[str, dict[str, str]] = {}
    made = [_of_step(row, steps, lists) for row in rows]
    for name, step in steps.items():
        place = company.steps.index(step)
        sums = [(field, ("sum", field)) for field in step.sum]
        for field, path in [*sums, *([(step.count, ("count",))] if step.count else [])]:
            made.append(_added_up(step, field, document.file, document.line("steps", place, *path)))
        source = {**step.model_dump(mode="json", by_alias=True), "lists": lists.get(name, {})}
        types[name] = types[name].model_copy(update={"system_of_record": step.id, "source": source})
    return company.model_copy(update={"systems": systems, "data_types": types}), tuple(made)


def step_of(company: Map, system: str) -> ProcessStep | None:
    """The step that `system` stands for."""
    written = company.systems.get(system)
    if written is None or written.kind != STEP:
        return None
    return next((step for step in company.steps if step.id == system), None)


def step_resource(step: ProcessStep, schema: RecordSchema, lookups: Lookups) -> list[Resource]:
    """What a step's mapping can read, `schema` being that of the data type it reads.

    With `per`: its fields and what is added up; of `list`, each record's fields.
    """
    record = (CatalogField("id", "string", "", required=True), *map(_catalog_field, schema.fields))
    if not step.per:
        inner = [
            Resource(f"{step.source}.{field.name}", tuple(map(_catalog_field, item.fields)), ())
            for field in schema.fields
            if (item := field.type.item) is not None and item.kind == "record"
        ]
        return [Resource(step.source, record, ("id",)), *inner]
    own = [field for field in record if field.name in step.per]
    sums = [CatalogField(name, _kind_of(text, schema, lookups), "", required=True) for name, text in step.sum.items()]
    counts = [CatalogField(step.count, "long", "", required=True)] if step.count else []
    group = Resource(step.source, (*own, *sums, *counts), tuple(step.per))
    return [group, Resource(f"{step.source}.{step.lines}", record, ("id",))] if step.lines else [group]


def step_condition(step: ProcessStep, schema: RecordSchema, lookups: Lookups) -> Rule | None:
    """The step's `where` over the fields of what it reads; None without one. RuleError."""
    return None if step.where is None else compile_condition(step.where, lookups=lookups, fields=_kinds(schema))


def step_sums(step: ProcessStep, schema: RecordSchema, lookups: Lookups) -> dict[str, Rule]:
    """Made field -> the rule for what a record adds to it. RuleError."""
    return {name: _sum(text, schema, lookups) for name, text in step.sum.items()}


def _is_free(data_type: DataType | None, step: ProcessStep) -> bool:
    return data_type is not None and data_type.system_of_record in (None, step.id) and not data_type.source


def _of_step(row: FieldMapping, steps: Mapping[str, ProcessStep], lists: dict[str, dict[str, str]]) -> FieldMapping:
    if (row.source_system, row.target_system) != (CANONICAL, CANONICAL):
        return row
    step = steps.get(canonical_data_type(row.target_field))
    if step is None or canonical_data_type(row.source_field) not in (step.source, ""):
        return row
    field, part = row.source_field, canonical_ref(row.target_field).part
    if part and not step.per and (source := canonical_ref(field).part):
        lists.setdefault(step.makes, {}).setdefault(part, source)
    elif part and part == step.lines:
        lists.setdefault(step.makes, {})[part] = part
        field = f"{step.source}.{part}.{field.partition('.')[2]}" if field else ""
    return row.model_copy(update={"source_system": step.id, "source_field": field})


def _added_up(step: ProcessStep, field: str, file: Path, line: int) -> FieldMapping:
    """The row that brings a sum or a number into its field."""
    return FieldMapping(
        source_system=step.id,
        source_field=f"{step.source}.{field}",
        target_system=CANONICAL,
        target_field=f"{step.makes}.{field}",
        notes=f"sum of {step.sum[field]}" if field in step.sum else f"number of {step.source} records",
        file=file,
        line=line,
    )


def _catalog_field(field: SchemaField) -> CatalogField:
    item = field.type.item.kind if field.type.item is not None else None
    return CatalogField(field.name, field.type.kind, "", required=not field.type.nullable, item=item)


def _kinds(schema: RecordSchema) -> dict[str, Kind | None]:
    return {"id": "string", **{field.name: field.type.kind for field in schema.fields}}


def _sum(text: str, schema: RecordSchema, lookups: Lookups) -> Rule:
    return compile_expression(text, lookups=lookups, fields=_kinds(schema))


def _kind_of(text: str, schema: RecordSchema, lookups: Lookups) -> Kind:
    try:
        return _sum(text, schema, lookups).result or "decimal"
    except RuleError:
        return "decimal"  # reported by the check
