"""Maps a whole record, for connectors whose records are plain Python values without nested lists of records.

Connectors that must be fast, or have lists, use `sorbus.mapping.assign` and prepare more in advance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sorbus.avro.decode import Undecodable, read_record
from sorbus.avro.encode import encoder
from sorbus.connector import BoundFlow, BoundSource, Delivery
from sorbus.errors import PermanentError
from sorbus.mapping.assign import Assignment, assign_source, assign_target
from sorbus.mapping.convert import convert
from sorbus.mapping.default import Defaults, encoded_default
from sorbus.mapping.rule import RuleError

Row = Mapping[str, object]


def canonical_maker(source: BoundSource, system: str, resource: str) -> Callable[[Row], bytes]:
    """`make(row)` returns a source's row as a canonical record in Avro. PermanentError names field, value and rule.

    MapError at once, with every error of the mapping. `resource`: the name before the dot in sheets, RESOURCE.COLUMN.
    """
    parts = assign_source(source.mapping, system, source.name, source.schema, {"": resource}, source.lookups)
    by_field = {assignment.into: assignment for assignment in parts[""]}
    steps = [(one, by_field.get(one.name), encoder(one.type), encoded_default(one)) for one in source.schema.fields]

    def make(row: Row) -> bytes:
        out = []
        for field, assignment, encode, unfilled in steps:
            if unfilled is not None and (assignment is None or (not assignment.rule and assignment.source not in row)):
                out.append(unfilled)
                continue
            value = _value(assignment, row) if assignment else None
            try:
                out.append(encode(convert(value, field.type)))
            except (ValueError, TypeError, ArithmeticError, LookupError, RecursionError) as error:
                raise _refusal(field.name, assignment, value, error) from error
        return b"".join(out)

    return make


def target_maker(flow: BoundFlow, resource: str) -> Callable[[Delivery], dict[str, object]]:
    """`make(delivery)` returns the target's fields as Python values. PermanentError names field, value and rule.

    MapError at once, with every error of the mapping.
    """
    name, mapping = flow.flow.data_type, flow.mapping
    parts = assign_target(mapping, flow.system.name, name, flow.schema, {"": resource}, flow.lookups)
    known = {"id", *(field.name for field in flow.schema.fields)}
    assignments = [one for one in parts[""] if one.source is None or one.source in known]
    defaults = Defaults(flow.schema.fields)

    def make(delivery: Delivery) -> dict[str, object]:
        try:
            record, end = read_record(delivery.schema, delivery.data, delivery.at)
        except Undecodable as error:
            raise PermanentError(f"the record can't be decoded: {error}", reason="undecodable") from error
        if end != len(delivery.data):
            told = f"the record ends at byte {end} of {len(delivery.data)}: it isn't what its schema says"
            raise PermanentError(told, reason="undecodable")
        row = defaults.fill(record, id=delivery.id.decode(errors="replace"))
        return {one.into: _value(one, row) for one in assignments}

    return make


def _value(assignment: Assignment, row: Row) -> object:
    value = row.get(assignment.source) if assignment.source else None
    if assignment.rule is None:
        return value
    try:
        return assignment.rule(value, row)
    except RuleError as error:
        raise _refusal(assignment.into, assignment, value, error) from error


def _refusal(field: str, assignment: Assignment | None, value: object, error: Exception) -> PermanentError:
    rule = assignment.rule.text if assignment and assignment.rule else None
    return PermanentError(f"field {field}: {error}", reason="mapping", field=field, value=value, rule=rule)
