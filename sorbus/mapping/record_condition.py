"""A condition that encoded records are chosen by: the rules' language over a data type's fields, and `id`."""

from __future__ import annotations

from collections.abc import Mapping

from sorbus.avro.decode import Undecodable, read_record
from sorbus.mapping.condition import compile_condition
from sorbus.mapping.errors import RuleError
from sorbus.schema import RecordSchema


class RecordCondition:
    """`text` over the fields of a data type, and `id`. RuleError where it can't be read or names no field."""

    def __init__(self, text: str, schema: RecordSchema, lookups: Mapping[str, Mapping[str, str]]) -> None:
        fields = {"id": "string", **{one.name: one.type.kind for one in schema.fields}}
        self.text, self._schema = text, schema
        self._rule = compile_condition(text, lookups=lookups, fields=fields)

    def fits(self, id: bytes, data: bytes) -> bool | str:
        """Whether a record fits; words for why that can't be decided."""
        try:
            record, _ = read_record(self._schema, data)
            return self._rule(None, {"id": id.decode(errors="replace"), **record}) is True
        except (RuleError, Undecodable) as error:
            return str(getattr(error, "fix", "")) or str(error) or type(error).__name__
