"""From an application's JSON records to canonical Avro: by the mapping and the description's kinds; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from sorbus.avro.encode import NULL, SOME, encode_long, encoder
from sorbus.connector import BoundSource
from sorbus.errors import PermanentError
from sorbus.http_api.description import ApiField, ApiResource
from sorbus.http_api.interface import Json, Record
from sorbus.http_api.path import read_path
from sorbus.http_api.values import require_valid, to_value
from sorbus.mapping.assign import Assignment, assign_source
from sorbus.mapping.convert import converter
from sorbus.mapping.default import encoded_default
from sorbus.mapping.errors import shown
from sorbus.mapping.rule import RuleError
from sorbus.producers.http.options import HttpSource
from sorbus.schema import SchemaField

Encode = Callable[[Record], bytes]


class RecordShape:
    """Encodes one data type's records."""

    def __init__(self, source: BoundSource, system: str, resource: ApiResource) -> None:
        """MapError with every fault of the mapping."""
        options = source.options
        assert isinstance(options, HttpSource)
        parts = assign_source(source.mapping, system, source.name, source.schema, options.resources, source.lookups)
        self._fields: list[Encode] = []
        self.assignments = parts.get("", ())
        """What fills the record's own fields."""
        own = _Part(self.assignments, resource.fields)
        for field in source.schema.fields:
            if field.name in options.lists:
                path = resource.lists.get(options.lists[field.name], options.lists[field.name])
                self._fields.append(_items(field, path, parts.get(field.name, ()), resource))
            else:
                self._fields.append(own.encode(field))

    def encode(self, record: Record) -> bytes:
        """The canonical record in Avro. PermanentError names field, value and rule."""
        return b"".join([encode(record) for encode in self._fields])


class _Column(NamedTuple):
    """A place in a record. Without a description a value stays what it is in JSON."""

    path: str
    kind: ApiField | None

    def read(self, record: Record) -> object:
        found = read_path(record, self.path)
        require_valid(found)
        return found if self.kind is None else to_value(found, self.kind)


class _Part:
    """The fields of a record or of a list's items."""

    def __init__(self, assignments: Sequence[Assignment], kinds: Mapping[str, ApiField]) -> None:
        self._assignments = {assignment.into: assignment for assignment in assignments}
        self._kinds = kinds

    def encode(self, field: SchemaField) -> Encode:
        """How one field comes out of a record."""
        assignment = self._assignments.get(field.name)
        if assignment is None:
            return _unfilled(field)
        source = _Column(assignment.source, self._kinds.get(assignment.source)) if assignment.source else None
        rule, canonical, avro = assignment.rule, converter(field.type), encoder(field.type)
        others = [_Column(name, self._kinds.get(name)) for name in sorted(rule.uses)] if rule else []

        def encode(record: Record) -> bytes:
            try:
                value = source.read(record) if source else None
                if rule is not None:
                    value = rule(value, {other.path: other.read(record) for other in others})
                return avro(canonical(value))
            except (ValueError, TypeError, ArithmeticError, RecursionError, RuleError, PermanentError) as error:
                raise _refusal(field, source, rule.text if rule else None, record, error) from error

        return encode


def _items(field: SchemaField, path: str, assignments: Sequence[Assignment], resource: ApiResource) -> Encode:
    """A list of records inside the record; its items' columns are described as `PATH[].COLUMN`."""
    inside = field.type.item
    assert inside is not None
    head = f"{path}[]."
    kinds = {name.removeprefix(head): kind for name, kind in resource.fields.items() if name.startswith(head)}
    part = _Part(assignments, kinds)
    encoders = [part.encode(inner) for inner in inside.fields]

    def encode(record: Record) -> bytes:
        found: Json = read_path(record, path)
        items = [] if found is None else found
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise PermanentError(
                f"field {field.name}: {shown(items)} at {path} is not a list of records; fix the description's"
                " `lists:`",
                reason="not canonical",
                field=field.name,
            )
        if not items and field.type.nullable:
            return NULL
        written = [b"".join([encode_field(item) for encode_field in encoders]) for item in items]
        body = encode_long(len(written)) + b"".join(written) + b"\0" if written else b"\0"
        return SOME + body if field.type.nullable else body

    return encode


def _unfilled(field: SchemaField) -> Encode:
    made = encoded_default(field)
    if made is not None:
        return lambda _: made

    def refuse(_: Record) -> bytes:
        raise PermanentError(
            f"field {field.name}: nothing fills it, and it must have a value; map a field to it",
            reason="not canonical",
            field=field.name,
        )

    return refuse


_HALF = "it holds half of a character, as of an emoji that was cut in two; write the value again in the application"


def _refusal(
    field: SchemaField, source: _Column | None, rule: str | None, record: Record, error: Exception
) -> PermanentError:
    value = read_path(record, source.path) if source else None
    where = f" ({source.path})" if source else ""
    of = "" if value is None or isinstance(error, PermanentError) else f" from {shown(value)}"
    why = _HALF if isinstance(error, UnicodeEncodeError) else str(error)
    return PermanentError(
        f"field {field.name}{where}{of}: {why}", reason="not canonical", field=field.name, value=value, rule=rule
    )
