"""Which records a flow carries: its `where`, a condition over the canonical record, evaluated once for each event."""

from __future__ import annotations

from typing import NamedTuple

from sorbus.avro.decode import Undecodable, read_record
from sorbus.connector import BoundFlow, Delivery
from sorbus.errors import PermanentError
from sorbus.mapping.condition import compile_condition
from sorbus.mapping.default import Defaults
from sorbus.mapping.errors import RuleError
from sorbus.mapping.rule import Rule
from sorbus.schema import RecordSchema

_NO_FIELDS = RecordSchema("none", (), {"type": "record", "name": "none", "fields": []})


class Filtered(NamedTuple):
    """What becomes of a delivery: `delivery` None leaves the target as it is; `is_outside`: `where` isn't true."""

    delivery: Delivery | None
    is_outside: bool


class RecordFilter:
    """One flow's. A record outside is a delete for the target, or nothing at all, as `on_leave` says."""

    def __init__(self, flow: BoundFlow) -> None:
        """RuleError if the condition can't be read; the flow has one."""
        self._flow, self._rule = flow, condition_of_flow(flow)
        self._defaults = Defaults(flow.schema.fields)

    def apply(self, delivery: Delivery) -> Filtered:
        """PermanentError where the condition can't be decided for the record: it names field and condition."""
        if delivery.deleted:
            return Filtered(delivery, is_outside=False)
        try:
            record, _ = read_record(delivery.schema, delivery.data, delivery.at)
        except Undecodable:
            return Filtered(delivery, is_outside=False)  # the connector reports it
        try:
            is_inside = self._rule(None, self._defaults.fill(record, id=delivery.id.decode(errors="replace")))
        except RuleError as error:
            field = next(iter(sorted(self._rule.uses)))
            raise PermanentError(
                f"where {self._rule.text}: {error}",
                reason="undecided filter",
                field=field,
                value=record.get(field),
                rule=self._rule.text,
            ) from error
        if is_inside is True:
            return Filtered(delivery, is_outside=False)
        if self._flow.flow.on_leave == "keep":
            return Filtered(None, is_outside=True)
        return Filtered(delivery._replace(deleted=True, schema=_NO_FIELDS, data=b"", at=0), is_outside=True)


def condition_of_flow(flow: BoundFlow) -> Rule:
    """The flow's `where`, checked against the data type's fields. RuleError."""
    fields = {"id": "string", **{one.name: one.type.kind for one in flow.schema.fields}}
    return compile_condition(str(flow.flow.where), lookups=flow.lookups, fields=fields)
