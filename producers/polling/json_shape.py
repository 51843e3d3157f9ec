"""From JSON records to canonical Avro: by the mapping, and by what is known of the source's types; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from sorbus.avro.encode import NULL, SOME, encode_long, encoder
from sorbus.connector import BoundSource
from sorbus.errors import PermanentError
from sorbus.http_api.interface import Json, Record
from sorbus.http_api.path import read_path
from sorbus.http_api.values import require_valid
from sorbus.mapping.assign import Assignment, assign_source
from sorbus.mapping.convert import converter
from sorbus.mapping.default import encoded_default
from sorbus.mapping.errors import shown
from sorbus.mapping.rule import RuleError
from sorbus.schema import SchemaField

Encode = Callable[[Record], bytes]
Reader = Callable[[Json], object]
"""From a JSON value to a Python value of the source's own type. ValueError, TypeError, PermanentError."""


class JsonShape:
    """Encodes one data type's records."""

    def __init__(
        self,
        source: BoundSource,
        system: str,
        resources: Mapping[str, str],
        lists: Mapping[str, str],
        readers: Mapping[str, Reader],
    ) -> None:
        """`resources`: part -> resource. `lists`: list field -> path of the list. `readers`: path -> how its values are
        read, items' as LIST[].NAME; what has none stays as it is in JSON. MapError with every fault of the mapping.
        """
        parts = assign_source(source.mapping, system, source.name, source.schema, resources, source.lookups)
        self._fields: list[Encode] = []
        self.assignments = parts.get("", ())
        """What fills the record's own fields."""
        own = _Part(self.assignments, readers)
        for field in source.schema.fields:
            if field.name in lists:
                self._fields.append(_items(field, lists[field.name], parts.get(field.name, ()), readers))
            else:
                self._fields.append(own.encode(field))

    def encode(self, record: Record) -> bytes:
        """The canonical record in Avro. PermanentError names field, value and rule."""
        return b"".join([encode(record) for encode in self._fields])


class _Column(NamedTuple):
    """A place in a record. Without a reader a value stays what it is in JSON."""

    path: str
    reader: Reader | None

    def read(self, record: Record) -> object:
        found = read_path(record, self.path)
        require_valid(found)
        return found if self.reader is None else self.reader(found)


class _Part:
    """The fields of a record or of a list's items."""

    def __init__(self, assignments: Sequence[Assignment], readers: Mapping[str, Reader]) -> None:
        self._assignments = {assignment.into: assignment for assignment in assignments}
        self._readers = readers

    def encode(self, field: SchemaField) -> Encode:
        """How one field comes out of a record."""
        assignment = self._assignments.get(field.name)
        if assignment is None:
            return _unfilled(field)
        source = _Column(assignment.source, self._readers.get(assignment.source)) if assignment.source else None
        rule, canonical, avro = assignment.rule, converter(field.type), encoder(field.type)
        others = [_Column(name, self._readers.get(name)) for name in sorted(rule.uses)] if rule else []

        def encode(record: Record) -> bytes:
            try:
                value = source.read(record) if source else None
                if rule is not None:
                    value = rule(value, {other.path: other.read(record) for other in others})
                return avro(canonical(value))
            except (ValueError, TypeError, ArithmeticError, RecursionError, RuleError, PermanentError) as error:
                raise _refusal(field, source, rule.text if rule else None, record, error) from error

        return encode


def _items(field: SchemaField, path: str, assignments: Sequence[Assignment], readers: Mapping[str, Reader]) -> Encode:
    """A list of records inside the record."""
    inside = field.type.item
    assert inside is not None
    head = f"{path}[]."
    own = {name.removeprefix(head): reader for name, reader in readers.items() if name.startswith(head)}
    part = _Part(assignments, own)
    encoders = [part.encode(inner) for inner in inside.fields]

    def encode(record: Record) -> bytes:
        found: Json = read_path(record, path)
        try:
            require_valid(found)
        except PermanentError as error:
            raise _refusal(field, _Column(path, None), None, record, error) from error
        items = [] if found is None else found
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise PermanentError(
                f"field {field.name}: {shown(items)} at {path} is not a list of records; fix `lists:`",
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


_HALF = (
    "it holds half of a character, as of an emoji that was cut in two, or a byte that isn't UTF-8; write the value"
    " again in the application"
)


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
