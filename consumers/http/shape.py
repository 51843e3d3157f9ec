"""How a canonical record becomes the fields of an application's resource: made once for a flow, then only called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from sorbus.avro.decode import Undecodable, read_record
from sorbus.connector import BoundFlow, Delivery
from sorbus.consumers.http.compare import Fields, is_compared
from sorbus.consumers.http.options import HttpTarget
from sorbus.errors import Finding, MapError, PermanentError
from sorbus.http_api.description import ApiField, ApiResource, Description
from sorbus.http_api.interface import Json, Record
from sorbus.http_api.path import write_path
from sorbus.http_api.values import to_json
from sorbus.mapping.assign import Assignment, assign_target
from sorbus.mapping.blank import is_blank
from sorbus.mapping.default import Defaults
from sorbus.mapping.record_references import referred
from sorbus.spelling import closest
from sorbus.waiting.complete import lacking


class Wanted(NamedTuple):
    """A record as its owner has it (`record`, canonical) and what the application is to have of it (`fields`)."""

    record: Mapping[str, object]
    fields: Fields


class _List(NamedTuple):
    path: str
    assignments: Sequence[Assignment]
    fields: Mapping[str, ApiField]


def resource_names(options: HttpTarget) -> dict[str, str]:
    """Part -> name: the resource for the record itself, RESOURCE.LIST for a list field's items."""
    return {"": options.resource, **{name: f"{options.resource}.{into}" for name, into in options.lists.items()}}


class Shape:
    """A flow's fields in one resource. MapError when the sheet names what the resource doesn't have."""

    def __init__(self, flow: BoundFlow, description: Description) -> None:
        options = flow.options
        assert isinstance(options, HttpTarget)
        self.resource, self._creates = _resource(flow, options, description), options.creates
        self.marker = self.resource.marker if options.marker is None else options.marker
        parts = assign_target(
            flow.mapping,
            flow.system.name,
            flow.flow.data_type,
            flow.schema,
            resource_names(options),
            flow.lookups,
        )
        findings: list[Finding] = []
        self._rows = list(_known(flow, self.resource.fields, parts.get("", ()), findings))
        self._lists: dict[str, _List] = {}
        for name in options.lists:
            path = self.resource.lists[options.lists[name]]
            start = f"{path}[]."
            inner = {key[len(start) :]: found for key, found in self.resource.fields.items() if key.startswith(start)}
            rows = list(_known(flow, inner, parts.get(name, ()), findings))
            self._lists[name] = _List(path, rows, {row.into: inner[row.into] for row in rows})
        if findings:
            raise MapError(findings)
        plain_last = sorted(self._rows, key=lambda row: row.rule is None)
        self.into = {row.source: row.into for row in plain_last if row.source is not None and _tells(row)}
        """Canonical field -> the resource's field that it fills: the one that copies it, where several do."""
        self.items = {found.path: found.fields for found in self._lists.values()}
        """A list's path -> its items' fields."""
        self._defaults = Defaults(flow.schema.fields)
        every = [*self._rows, *(row for found in self._lists.values() for row in found.assignments)]
        self.references = frozenset(name for row in every for name in referred(row.rule))
        """The data types whose ids in the application its rules ask for, each with the resource named, or ""."""
        self.needs = {
            row.source: row.into for row in self._rows if row.source and not row.rule and self._is_needed(row)
        }
        """Canonical field -> the application's required field that it alone fills."""
        holds = flow.flow.on_incomplete != "pass"
        self._needed = [row for row in self._rows if holds and row.rule is not None and self._is_needed(row)]
        self._shown = () if holds else tuple(row.into for row in self._rows if self._is_needed(row))
        self._flow = flow

    def _is_needed(self, row: Assignment) -> bool:
        field = self.resource.fields[row.into]
        return self._creates and field.required and not field.read_only

    def missing(self) -> list[str]:
        """The fields without which the application makes no record, and that nothing fills."""
        filled = {row.into for row in self._rows} | set(self.items) | {self.marker}
        roots = {into.partition(".")[0].partition("[")[0] for into in filled}
        return [
            name
            for name, field in self.resource.fields.items()
            if field.required and not field.read_only and name not in filled and name not in roots and "[]" not in name
        ]

    def uncompared(self) -> Iterator[str]:
        """The fields in which what the application shows says nothing of what it was sent, a sentence each."""
        for row in self._rows:
            if not is_compared(field := self.resource.fields[row.into]):
                why = "shows it in no answer" if field.write_only else "takes it only at creation"
                yield f"field {row.into}: the application {why}"

    def __call__(self, delivery: Delivery) -> Wanted:
        """What the application is to have. PermanentError that names the field, where a value can't be made."""
        record = self._decoded(delivery)
        fields: Fields = {}
        for row in self._rows:
            fields[row.into] = _made(row, record, self.resource.fields[row.into])
        for name, into in self._lists.items():
            items = record.get(name)
            fields[into.path] = [_item(into, item, record["id"]) for item in items] if isinstance(items, list) else []
        for path in self._shown:  # an application would take a blank for a value
            if isinstance(fields[path], str) and is_blank(fields[path]):
                fields[path] = ""
        for row in self._needed:
            if is_blank(fields[row.into]):
                assert row.rule is not None
                names = [row.source] if row.source else sorted(row.rule.uses)
                raise lacking(self._flow, str(record["id"]), names or [row.into])
        return Wanted(record, fields)

    def _decoded(self, delivery: Delivery) -> dict[str, object]:
        try:
            found, end = read_record(delivery.schema, delivery.data, delivery.at)
        except Undecodable as error:
            raise PermanentError(f"the record can't be decoded: {error}", reason="undecodable") from error
        if end != len(delivery.data):
            raise PermanentError(
                f"the record ends at byte {end} of {len(delivery.data)}: not what its schema says", reason="undecodable"
            )
        return self._defaults.fill(found, id=delivery.id.decode(errors="replace"))


def _resource(flow: BoundFlow, options: HttpTarget, description: Description) -> ApiResource:
    found = description.resources.get(options.resource)
    if found is None:
        message = f"{description.title} has no resource {options.resource!r}"
        raise MapError([flow.finding("unknown-resource", message, closest(options.resource, description.resources))])
    findings = []
    for name, into in options.lists.items():
        field = flow.schema.by_name.get(name)
        if field is None or field.type.item is None or field.type.item.kind != "record":
            message = f"{flow.flow.data_type} has no list of records {name!r}"
            findings.append(flow.finding("unknown-field", message, closest(name, flow.schema.by_name)))
        elif into not in found.lists:
            message = f"{options.resource} has no list {into!r}"
            findings.append(flow.finding("unknown-list", message, closest(into, found.lists)))
    if findings:
        raise MapError(findings)
    return found


def _tells(row: Assignment) -> bool:
    """Whether what it fills says something of its source field: a constant doesn't."""
    return row.rule is None or row.rule.uses_value


def _known(
    flow: BoundFlow, fields: Mapping[str, ApiField], rows: Sequence[Assignment], findings: list[Finding]
) -> Iterator[Assignment]:
    """The assignments whose field is there and can be written; same-named ones are only tried."""
    for row in rows:
        field = fields.get(row.into)
        if field is not None and not field.read_only:
            yield row
        elif row.row is not None and field is None:
            fix = f"{closest(row.into, fields)}, or add it to `fields:` in a description of your own"
            message = f"{flow.system.name}: {row.row.target_field} is not a field of the resource"
            findings.append(Finding(row.row.file, row.row.line, message, fix, "unknown-field"))
        elif row.row is not None:
            message = f"{flow.system.name}: {row.row.target_field} is set by the application itself"
            findings.append(Finding(row.row.file, row.row.line, message, "delete the row", "read-only"))


def _made(row: Assignment, record: Mapping[str, object], field: ApiField) -> Json:
    value = record.get(row.source) if row.source else None
    rule = row.rule.text if row.rule else None
    try:
        return to_json(row.rule(value, record) if row.rule else value, field)
    except PermanentError as error:
        error.field, error.rule = row.into, rule
        raise
    except (ValueError, TypeError, ArithmeticError, LookupError, RecursionError) as error:
        message = f"{row.into} from {str(value)[:80]!r}: {error}"
        raise PermanentError(message, reason="mapping", field=row.into, value=value, rule=rule) from error


def _item(into: _List, item: object, parent: object) -> Record:
    made: Record = {}
    for row in into.assignments:
        assert isinstance(item, dict)
        value = _made(row, {**item, "id": parent}, into.fields[row.into])
        if value is not None:
            write_path(made, row.into, value)
    return made
