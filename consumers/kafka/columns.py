"""Which fields a topic's records have, and of which types: from the data type's schema and the flow's mapping."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from sorbus.connector import BoundFlow, Delivery
from sorbus.consumers.kafka.connect_types import ConnectType, Wire, connect_type
from sorbus.consumers.kafka.options import KafkaTarget
from sorbus.errors import Finding, MapError, PermanentError
from sorbus.mapping.assign import Assignment, assign_target
from sorbus.mapping.convert import convert
from sorbus.mapping.record import target_maker
from sorbus.schema import FieldType, Kind

_NESTED = ("array", "map", "record")
_AVRO_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WRITTEN = re.compile(r"(?P<kind>[a-z]+)(\((?P<precision>\d{1,2}),(?P<scale>\d{1,2})\))?")
_PLAIN: tuple[Kind, ...] = (
    "string",
    "int",
    "long",
    "float",
    "double",
    "boolean",
    "bytes",
    "timestamp",
    "date",
    "time",
    "uuid",
)


class Column(NamedTuple):
    """A field of the topic's records."""

    name: str
    kind: FieldType
    type: ConnectType


class Columns:
    """One flow's. `left_out`: fields that `nested: omit` leaves out."""

    def __init__(self, flow: BoundFlow) -> None:
        """MapError with every fault of mapping and options."""
        options = flow.options
        assert isinstance(options, KafkaTarget)
        self._options = options
        parts = assign_target(
            flow.mapping, flow.system.name, flow.flow.data_type, flow.schema, {"": options.resource}, flow.lookups
        )
        fields = {field.name: field.type for field in flow.schema.fields}
        faults: list[Finding] = []
        if not _AVRO_NAME.fullmatch(options.key):
            faults.append(_no_name(flow, options.key))
        self.left_out: list[str] = []
        self.columns: list[Column] = []
        for one in parts[""]:
            if one.into == options.key:
                if one.source != "id" or one.rule is not None or "id" in fields:
                    faults.append(
                        flow.finding(
                            "key-filled", f"{one.into} is the key, which holds the record's id", "take another `key:`"
                        )
                    )
                continue
            if not _AVRO_NAME.fullmatch(one.into):
                faults.append(_no_name(flow, one.into))
                continue
            kind = self._kind(flow, one, fields, faults)
            if kind.kind in _NESTED and options.nested == "omit":
                self.left_out.append(one.into)
                continue
            self.columns.append(Column(one.into, kind, connect_type(kind, options)))
        known = {column.name for column in self.columns}
        faults += [
            flow.finding(
                "unknown-field", f"`types` names {name}, which no record has", "correct the name, or remove it"
            )
            for name in options.types
            if name not in known
        ]
        if flow.flow.deletes == "soft":
            faults.append(
                flow.finding(
                    "soft-deletes", "a topic has no rows to mark as deleted", "write `deletes: hard` or `ignore`"
                )
            )
        if faults:
            raise MapError(faults)
        self._make: Callable[[Delivery], Mapping[str, object]] = target_maker(flow, options.resource)

    def values(self, delivery: Delivery) -> dict[str, Wire]:
        """A record's fields as they go on the wire. PermanentError names field, value and cause."""
        made = self._make(delivery)
        found: dict[str, Wire] = {}
        for name, kind, type in self.columns:
            value = made.get(name)
            try:
                converted = convert(value, kind)
                found[name] = None if converted is None else type.wire(converted)
            except (ValueError, TypeError, ArithmeticError) as error:
                raise PermanentError(
                    f"field {name}: {error}", reason="a value that the topic's type can't hold", field=name, value=value
                ) from error
        return found

    def key(self, id: bytes) -> str | int:
        """The key's value. PermanentError where it must be a whole number and isn't."""
        try:
            text = id.decode()
        except UnicodeDecodeError as error:
            raise PermanentError(
                f"the record's id {id!r} isn't UTF-8, and as text it would be that of other records too: correct it in"
                " its source",
                reason="no key",
                field=self._options.key,
            ) from error
        if self._options.key_type == "string":
            return text
        if not re.fullmatch(r"0|-?[1-9][0-9]{0,18}", text) or not -(2**63) <= int(text) < 2**63:
            raise PermanentError(
                f"the record's id {text!r} is no int64, as `key_type` says: write `key_type: string`",
                reason="no key",
                field=self._options.key,
            )
        return int(text)

    def _kind(
        self, flow: BoundFlow, one: Assignment, fields: Mapping[str, FieldType], faults: list[Finding]
    ) -> FieldType:
        written = self._options.types.get(one.into)
        if written is not None:
            kind = _read(written)
            if kind is None:
                fix = f"write {', '.join(_PLAIN)} or decimal(12,2)"
                faults.append(flow.finding("unknown-type", f"`types`: {written!r} for {one.into} is no type", fix))
            return kind or FieldType("string", nullable=True)
        if one.rule is None:
            kind = fields.get(one.source or "", FieldType("string"))
            return FieldType(kind.kind, True, kind.precision, kind.scale, kind.symbols, kind.item, kind.fields)
        result = one.rule.result
        return FieldType(result if result in _PLAIN else "string", nullable=True)


def _no_name(flow: BoundFlow, name: str) -> Finding:
    message = f"{name!r} can't be a field's name in Kafka Connect's schemas"
    return flow.finding("field-name", message, "begin with a letter or _, and use letters, digits and _ only")


def _read(written: str) -> FieldType | None:
    found = _WRITTEN.fullmatch(written.replace(" ", ""))
    if found is None:
        return None
    kind, precision = found["kind"], found["precision"]
    if kind == "decimal" and precision and int(precision) > 0 and int(found["scale"]) <= int(precision):
        return FieldType("decimal", True, int(precision), int(found["scale"]))
    return next((FieldType(one, nullable=True) for one in _PLAIN if one == kind and precision is None), None)
