"""Canonical schemas: the fields of a data type's records, read from Avro (1.12 specification) files.

A schema file holds the record alone; `envelope` wraps it in the change event that travels on the topic.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import fastavro
from fastavro.schema import SchemaParseException, UnknownType
from pydantic import JsonValue

from sorbus.errors import SchemaError

Kind = Literal[
    "string", "int", "long", "float", "double", "boolean", "bytes", "decimal", "timestamp", "date", "time", "uuid",
    "enum", "array", "map", "record",
]  # fmt: skip
AvroType = str | list["AvroType"] | dict[str, "AvroType"]

_LOGICAL: Mapping[tuple[str, str], Kind] = {
    ("bytes", "decimal"): "decimal",
    ("long", "timestamp-micros"): "timestamp",
    ("long", "time-micros"): "time",
    ("int", "date"): "date",
    ("string", "uuid"): "uuid",
}
_PLAIN = {"string", "int", "long", "float", "double", "boolean", "bytes"}


@dataclass(frozen=True, slots=True)
class FieldType:
    """A canonical type. `unit` is Avro's time unit in microseconds; unions are only ever ["null", T]."""

    kind: Kind
    nullable: bool = False
    precision: int = 0
    scale: int = 0
    symbols: tuple[str, ...] = ()
    item: FieldType | None = None
    fields: tuple[SchemaField, ...] = ()

    def __str__(self) -> str:
        size = f"({self.precision},{self.scale})" if self.precision else ""
        text = {"decimal": f"decimal{size}", "array": f"array of {self.item}"}.get(self.kind, self.kind)
        return f"{text} or null" if self.nullable else text


@dataclass(frozen=True, slots=True)
class SchemaField:
    """One field of a record."""

    name: str
    type: FieldType
    doc: str = ""
    has_default: bool = False
    default: object = None
    tags: frozenset[str] = frozenset()
    aliases: frozenset[str] = frozenset()
    """Its former names."""

    @property
    def required(self) -> bool:
        """Whether a record can't be made without a value for it."""
        return not self.type.nullable and not self.has_default


@dataclass(frozen=True)
class RecordSchema:
    """A record schema: its fields in wire order, and the JSON it was read from."""

    name: str
    fields: tuple[SchemaField, ...]
    json: dict[str, AvroType] = field(repr=False, compare=False)
    doc: str = ""

    @cached_property
    def by_name(self) -> dict[str, SchemaField]:
        return {item.name: item for item in self.fields}

    @cached_property
    def text(self) -> str:
        """The schema as compact JSON, as a registry stores it."""
        return json.dumps(self.json, separators=(",", ":"))

    @cached_property
    def fingerprint(self) -> bytes:
        """CRC-64-AVRO of the canonical form, little-endian: the id in single-object encoding (Avro 1.12)."""
        canonical = fastavro.schema.to_parsing_canonical_form(self.json)
        return int(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"), 16).to_bytes(8, "big")

    @cached_property
    def encoding(self) -> str:
        """What decides a record's bytes and their meaning: its name, names and types in wire order, a decimal's scale.

        Avro's canonical form lacks logical types: there amounts with two and with four decimal places are the same.
        Defaults and documentation don't count: only readers use them.
        """
        return json.dumps([self.name.rpartition(".")[2], _encoding_of(self.fields)], separators=(",", ":"))

    def leaves(self) -> Iterator[tuple[str, SchemaField]]:
        """Every mappable field as (path, field): `name`, and `lines[].sku` for the items of a list of records."""
        for item in self.fields:
            inner = item.type.item
            if item.type.kind == "array" and inner is not None and inner.kind == "record":
                yield from ((f"{item.name}[].{child.name}", child) for child in inner.fields)
            else:
                yield item.name, item


def _encoding_of(fields: Iterable[SchemaField]) -> list[JsonValue]:
    return [[item.name, _type_encoding(item.type)] for item in fields]


def _type_encoding(kind: FieldType) -> JsonValue:
    inner = None if kind.item is None else _type_encoding(kind.item)
    return [kind.kind, kind.nullable, kind.scale, list(kind.symbols), inner, _encoding_of(kind.fields)]


def parse_schema(source: str | dict[str, AvroType], *, where: str = "schema") -> RecordSchema:
    """Parses a record schema from Avro JSON; SchemaError names `where` and what is unsupported."""
    try:
        document = json.loads(source) if isinstance(source, str) else source
        fastavro.parse_schema(document)
        parsed = _type(document, {}, where)
    except (ValueError, SchemaParseException, UnknownType) as error:
        raise SchemaError(f"{where}: not a valid Avro schema: {error}") from error
    except KeyError as error:  # fastavro lets some through
        raise SchemaError(f"{where}: not a valid Avro schema: it lacks {error}") from error
    if parsed.kind != "record":
        raise SchemaError(f"{where}: the schema is a {parsed.kind}; a data type's schema must be a record")
    return RecordSchema(str(document["name"]), parsed.fields, document, str(document.get("doc", "")))


def read_schema(file: Path) -> RecordSchema:
    """Reads one .avsc file."""
    try:
        return parse_schema(file.read_text("utf-8"), where=str(file))
    except OSError as error:
        raise SchemaError(f"{file}: {error.strerror}; write the schema there or fix the map's `schema:`") from error


def _type(node: AvroType, named: dict[str, FieldType], where: str) -> FieldType:
    if isinstance(node, list):
        branches = [branch for branch in node if branch != "null"]
        if len(branches) != 1 or len(node) != 2 or node[0] != "null":
            raise SchemaError(f'{where}: union {node}: only ["null", TYPE] is supported')
        inner = _type(branches[0], named, where)
        return FieldType(inner.kind, True, inner.precision, inner.scale, inner.symbols, inner.item, inner.fields)
    if isinstance(node, str):
        if node in _PLAIN:
            return FieldType(node)  # type: ignore[arg-type]
        if node in named:
            return named[node]
        raise SchemaError(f"{where}: type {node!r} is not supported")
    return _complex_type(node, named, where)


def _complex_type(node: dict[str, AvroType], named: dict[str, FieldType], where: str) -> FieldType:
    base, logical = node.get("type"), node.get("logicalType")
    if isinstance(base, str) and isinstance(logical, str):
        kind = _LOGICAL.get((base, logical))
        if kind is None:
            raise SchemaError(f"{where}: logical type {logical} on {base} is not supported")
        return FieldType(kind, precision=_number(node, "precision"), scale=_number(node, "scale"))
    if base == "enum":
        symbols = node["symbols"]
        made = FieldType("enum", symbols=tuple(str(symbol) for symbol in symbols))
    elif base == "array":
        return FieldType("array", item=_type(node["items"], named, where))
    elif base == "map":
        return FieldType("map", item=_type(node["values"], named, where))
    elif base == "record":
        fields = node["fields"]
        assert isinstance(fields, list)
        made = FieldType("record", fields=tuple(_field(item, named, where) for item in fields))
    elif isinstance(base, str | dict | list):
        return _type(base, named, where)
    else:
        raise SchemaError(f"{where}: {node} has no type")
    name = str(node["name"])
    named[name] = made
    if isinstance(namespace := node.get("namespace"), str):
        named[f"{namespace}.{name}"] = made
    return made


def _field(node: AvroType, named: dict[str, FieldType], where: str) -> SchemaField:
    assert isinstance(node, dict)
    name, tags = str(node["name"]), node.get("tags", [])
    found = _type(node["type"], named, f"{where}, field {name}")
    return SchemaField(
        name,
        found,
        str(node.get("doc", "")),
        "default" in node,
        node.get("default"),
        _texts(tags),
        _texts(node.get("aliases", [])),
    )


def _texts(value: object) -> frozenset[str]:
    return frozenset(map(str, value)) if isinstance(value, list) else frozenset()


def _number(node: dict[str, AvroType], key: str) -> int:
    value: object = node.get(key, 0)
    return value if isinstance(value, int) else 0
