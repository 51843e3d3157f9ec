"""What changed between two versions of a schema, and who can still read what (Avro 1.12, "Schema Resolution").

Backward: a reader of the newer version reads what the older one wrote. Forward: a reader of the older version reads
what the newer one writes. Full: both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from sorbus.schema import AvroType, FieldType, Kind, RecordSchema, SchemaField
from sorbus.schema_reading import former_names

Compatibility = Literal["backward", "forward", "full"]
_WIDER: dict[Kind, tuple[Kind, ...]] = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}
"""Type written -> types that a reader may resolve it to."""


class SchemaChange(NamedTuple):
    """One difference: where, what, whether it is compatible in each direction, and why."""

    path: str
    what: str
    backward: bool
    forward: bool
    why: str

    def fits(self, rule: Compatibility) -> bool:
        """Whether it satisfies the data type's compatibility rule."""
        return (self.backward or rule == "forward") and (self.forward or rule == "backward")


def changes_between(before: RecordSchema, after: RecordSchema) -> list[SchemaChange]:
    """Every difference, field by field; empty if both read alike."""
    found = []
    if before.name != after.name:
        why = "Avro compares records by name; restore the old name"
        found.append(SchemaChange("", f"the record is called {after.name}, not {before.name}", False, False, why))
    found += _fields("", before.fields, after.fields, _Defaults(before), _Defaults(after))
    return found


class _Defaults:
    """Which enums have a default for symbols unknown to a reader: only the JSON has it."""

    def __init__(self, schema: RecordSchema) -> None:
        self._symbols: set[tuple[str, ...]] = set()
        self._walk(schema.json)

    def knows(self, kind: FieldType) -> bool:
        return kind.symbols in self._symbols

    def _walk(self, node: AvroType) -> None:
        if isinstance(node, list):
            for inner in node:
                self._walk(inner)
        elif isinstance(node, dict):
            if node.get("type") == "enum" and "default" in node:
                symbols = node["symbols"]
                self._symbols.add(tuple(map(str, symbols)))
            for inner in node.values():
                if isinstance(inner, dict | list):
                    self._walk(inner)


def _fields(
    head: str, before: Sequence[SchemaField], after: Sequence[SchemaField], old: _Defaults, new: _Defaults
) -> Iterator[SchemaChange]:
    was, now = ({field.name: field for field in fields} for fields in (before, after))
    former = former_names(after, frozenset(was))
    renamed = {field.name: was[name] for name, field in former.items() if name in was and name not in now}
    gone = {field.name for field in renamed.values()}
    for name, field in was.items():
        if name not in now and name not in gone:
            why = (
                "older readers fill in its default"
                if field.has_default
                else "older readers lack it and have no default: add one first, in a version of its own"
            )
            yield SchemaChange(head + name, f"{field.type} is removed", True, field.has_default, why)
    for name, field in now.items():
        if (old_field := renamed.get(name)) is not None:
            why = (
                "older readers fill in its default"
                if old_field.has_default
                else f"older readers lack {old_field.name} and have no default"
            )
            yield SchemaChange(head + name, f"renamed from {old_field.name}", True, old_field.has_default, why)
            yield from _type(head + name, old_field.type, field.type, old, new)
            yield from _words(head + name, old_field, field)
            continue
        if name not in was:
            why = (
                "older records get its default"
                if field.has_default
                else 'older records lack it: add a default, such as "default": null'
            )
            yield SchemaChange(head + name, f"{field.type} is new", field.has_default, True, why)
            continue
        yield from _type(head + name, was[name].type, field.type, old, new)
        yield from _words(head + name, was[name], field)


def _words(path: str, was: SchemaField, now: SchemaField) -> Iterator[SchemaChange]:
    if was.has_default != now.has_default or was.default != now.default:
        shown = [repr(field.default) if field.has_default else "none" for field in (was, now)]
        yield SchemaChange(path, f"default {shown[0]} -> {shown[1]}", True, True, "a default only fills gaps")
    if was.tags != now.tags:
        shown = [", ".join(sorted(field.tags)) or "none" for field in (was, now)]
        yield SchemaChange(path, f"tags {shown[0]} -> {shown[1]}", True, True, "tags are not part of what is written")
    if was.doc != now.doc:
        yield SchemaChange(path, "its doc", True, True, "only documentation")


def _type(path: str, was: FieldType, now: FieldType, old: _Defaults, new: _Defaults) -> Iterator[SchemaChange]:
    if was.nullable != now.nullable:
        if now.nullable:
            yield SchemaChange(path, "may be null now", True, False, "older readers can't read null there")
        else:
            yield SchemaChange(path, "may no longer be null", False, True, "null was written before")
    if was.kind != now.kind:
        backward, forward = now.kind in _WIDER.get(was.kind, ()), was.kind in _WIDER.get(now.kind, ())
        why = "the newer type holds every older value" if backward else "values of one are not read as the other"
        if backward and not forward:
            why += ", but not vice versa"
        yield SchemaChange(path, f"{was.kind} -> {now.kind}", backward, forward, why)
    elif (was.precision, was.scale) != (now.precision, now.scale):
        what = f"decimal({was.precision},{was.scale}) -> decimal({now.precision},{now.scale})"
        yield SchemaChange(path, what, False, False, "the decimal point would move: add a field instead")
    elif was.kind == "enum" and was.symbols != now.symbols:
        yield _symbols(path, was, now, old, new)
    elif was.kind == "record":
        yield from _fields(f"{path}.", was.fields, now.fields, old, new)
    elif was.item is not None and now.item is not None:
        inside = f"{path}[]" if was.kind == "array" else f"{path}{{}}"
        if was.item.kind == now.item.kind == "record":
            yield from _fields(f"{inside}.", was.item.fields, now.item.fields, old, new)
        else:
            yield from _type(inside, was.item, now.item, old, new)


def _symbols(path: str, was: FieldType, now: FieldType, old: _Defaults, new: _Defaults) -> SchemaChange:
    gone, added = [s for s in was.symbols if s not in now.symbols], [s for s in now.symbols if s not in was.symbols]
    backward, forward = not gone or new.knows(now), not added or old.knows(was)
    said = [f"+{symbol}" for symbol in added] + [f"-{symbol}" for symbol in gone]
    why = (
        "readers replace an unknown symbol with the default"
        if backward and forward
        else 'readers fail on an unknown symbol: give the enum "default": "UNKNOWN" in an earlier version'
    )
    return SchemaChange(path, f"symbols {' '.join(said) or 'in another order'}", backward, forward, why)
