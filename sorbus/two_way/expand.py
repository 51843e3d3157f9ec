"""Two-way flows as one-way parts: what each system shows, the merge of it, and the way back to the system of record.

Each system of a two-way data type is captured into a data type of its own, DATA_TYPE-proposals-SYSTEM. A system of
kind `merge`, DATA_TYPE-merge, owns the data type itself: it makes it of the proposals. A flow brings it back to the
system of record. Everything else sees no more than a map of one-way flows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from sorbus.mapfile.model import DataType, FieldMapping, Flow, Map, System
from sorbus.mapping.field_refs import CANONICAL, ID, canonical_data_type, canonical_ref
from sorbus.schema import AvroType, RecordSchema, parse_schema

KIND = "merge"


def proposals_of(data_type: str, system: str) -> str:
    """The data type of what a system shows of a two-way data type's records."""
    return f"{data_type}-proposals-{system}"


@dataclass(frozen=True)
class TwoWay:
    """A data type that several systems change. `proposed`: system -> the fields that sheets take from it."""

    data_type: str
    system_of_record: str
    written: DataType
    flows: Mapping[str, Flow]
    """System -> the two-way flow that goes there."""
    proposed: Mapping[str, frozenset[str]]

    @property
    def merge(self) -> str:
        """The system that owns the merged records."""
        return f"{self.data_type}-merge"

    @property
    def systems(self) -> list[str]:
        """The system of record and those that two-way flows go to."""
        return [self.system_of_record, *self.flows]

    def proposals(self, system: str) -> str:
        """The data type of what a system shows."""
        return proposals_of(self.data_type, system)

    def kept_from(self, system: str, fields: Iterable[str]) -> frozenset[str]:
        """Of these fields those that Sorbus never writes to a system: it owns them."""
        merged, owners = self.written.merge, self.written.field_owners
        return frozenset(
            name for name in fields if name not in merged and owners.get(name, self.system_of_record) == system
        )

    def schema_of(self, system: str, schema: RecordSchema) -> RecordSchema:
        """What a system shows of the records: the system of record all of them, others what sheets take from there."""
        if system == self.system_of_record:
            return schema
        fields = schema.json["fields"]
        assert isinstance(fields, list)
        return parse_schema(
            {**schema.json, "fields": [_optional(one) for one in fields if _name(one) in self.proposed[system]]}
        )

    def written_schema(self, system: str, schema: RecordSchema) -> RecordSchema:
        """What flows write of the records into a system: without the fields that it owns."""
        kept = self.kept_from(system, schema.by_name)
        fields = schema.json["fields"]
        assert isinstance(fields, list)
        return parse_schema({**schema.json, "fields": [one for one in fields if _name(one) not in kept]})

    def options(self, fields: Iterable[str]) -> dict[str, JsonValue]:
        """The `source:` of the merge."""
        known = list(fields)
        proposes: dict[str, JsonValue] = {system: [*sorted(self.proposed[system])] for system in self.flows}
        proposes[self.system_of_record] = [*known]
        owners: dict[str, JsonValue] = {**self.written.field_owners}
        merges: dict[str, JsonValue] = {**self.written.merge}
        flows: dict[str, JsonValue] = {system: flow.id for system, flow in self.flows.items()}
        return {
            "system_of_record": self.system_of_record,
            "proposes": proposes,
            "owners": owners,
            "merges": merges,
            "tolerance": self.written.clock_tolerance,
            "flows": {**flows, self.system_of_record: self.back},
        }

    @property
    def back(self) -> str:
        """The flow that brings what other systems have changed to the system of record."""
        return f"{self.data_type}-to-{self.system_of_record}"

    def way_back(self) -> Flow:
        """The flow that brings what other systems have changed to the system of record."""
        resource = self.written.source.get("resource")
        key = self.written.source.get("key")
        column = key[0] if isinstance(key, list) and key else key if isinstance(key, str) else "id"
        return Flow.model_validate(
            {
                "name": self.back,
                "data_type": self.data_type,
                "to": self.system_of_record,
                "direction": "two-way",
                "deletes": "ignore",
                # which loses nothing: the topic holds every record again, and deletes don't count here
                "on_lost_events": "reread",
                "target": {"resource": resource, "creates": False}
                if resource is not None
                else {
                    "table": self.written.source.get("table"),
                    "key": column,
                    "existing": True,
                    "creates": False,
                },
            }
        )


def two_way_types(company: Map, rows: Sequence[FieldMapping]) -> dict[str, TwoWay]:
    """The data types with two-way flows whose ends are known."""
    found: dict[str, TwoWay] = {}
    for name, data_type in company.data_types.items():
        owner = data_type.system_of_record
        if not isinstance(owner, str) or owner not in company.systems:
            continue
        flows = {
            flow.to: flow
            for flow in company.flows
            if flow.data_type == name and flow.direction == "two-way" and flow.runs and flow.to in company.systems
            if flow.to != owner
        }
        if flows:
            proposed = {system: frozenset(_proposed(rows, system, name)) for system in flows}
            found[name] = TwoWay(name, owner, data_type, flows, proposed)
    return found


def expanded(company: Map, found: Mapping[str, TwoWay], schemas: Mapping[str, RecordSchema]) -> Map:
    """The map with the parts of its two-way data types. `schemas`: of those that have one."""
    systems, flows = dict(company.systems), list(company.flows)
    data_types: dict[str, DataType] = {}
    for name, data_type in company.data_types.items():
        two_way = found.get(name)
        if two_way is None:
            data_types[name] = data_type
            continue
        owner = company.systems[two_way.system_of_record].owner
        systems[two_way.merge] = System(kind=KIND, owner=owner)
        schema = schemas.get(name)
        source = two_way.options(schema.by_name if schema is not None else ())
        data_types[name] = data_type.model_copy(update={"system_of_record": two_way.merge, "source": source})
        for system in two_way.systems:
            data_types[two_way.proposals(system)] = _captured(two_way, system)
        flows = [flow.model_copy(update={"source": None}) if flow.data_type == name else flow for flow in flows]
        if not any(flow.data_type == name and flow.to == two_way.system_of_record for flow in flows):
            flows.append(two_way.way_back())
    return company.model_copy(update={"systems": systems, "data_types": data_types, "flows": flows})


def renamed_rows(rows: Sequence[FieldMapping], found: Mapping[str, TwoWay]) -> tuple[FieldMapping, ...]:
    """The sheets' rows with what comes from a two-way data type's systems as its proposals."""
    return tuple(_renamed(row, found) for row in rows)


def _renamed(row: FieldMapping, found: Mapping[str, TwoWay]) -> FieldMapping:
    name, _, rest = row.target_field.partition(".")
    two_way = found.get(name) if row.target_system == CANONICAL else None
    if two_way is None or row.source_system not in two_way.systems:
        return row
    field = f"{two_way.proposals(row.source_system)}.{rest}" if rest else two_way.proposals(row.source_system)
    return row.model_copy(update={"target_field": field})


def _captured(two_way: TwoWay, system: str) -> DataType:
    written = two_way.written
    if system == two_way.system_of_record:
        source = written.source
    else:
        flow = two_way.flows[system]
        if (resource := flow.target.get("resource")) is not None:
            source = {"resource": resource, **flow.proposals}
        else:
            source = flow.proposals or {"table": flow.target.get("table"), "key": [flow.target.get("key", ID)]}
    return DataType.model_validate(
        {
            "schema": written.schema_name or two_way.data_type,
            "system_of_record": system,
            "source": source,
            "partitions": written.partitions,
            "compatibility": written.compatibility,
        }
    )


def _proposed(rows: Sequence[FieldMapping], system: str, data_type: str) -> Iterator[str]:
    for row in rows:
        is_taken = (row.source_system, row.target_system) == (system, CANONICAL)
        if is_taken and canonical_data_type(row.target_field) == data_type:
            ref = canonical_ref(row.target_field)
            if not ref.part and ref.name:
                yield ref.name


def _name(field: AvroType) -> str:
    assert isinstance(field, dict)
    return str(field["name"])


def _optional(field: AvroType) -> AvroType:
    assert isinstance(field, dict)
    kind = field["type"]
    is_optional = isinstance(kind, list) and kind[:1] == ["null"]
    made: AvroType = kind if is_optional else ["null", kind]
    return {**field, "type": made, "default": None}  # type: ignore[dict-item]  # null is how Avro writes this default
