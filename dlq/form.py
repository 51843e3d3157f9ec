"""The edit form of a canonical record as data: made from its schema, read back with an error per field.

Values travel as texts by path: `name`, `address.city`, `lines[0].sku`. What isn't sent, or comes back as it was shown,
stays exactly as it was; so a masked value may be sent back unseen, but not to another place. `PATH[N]~remove` takes an
item out of a list, and items behind the last are new ones. Maps and lists of lists are JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import NamedTuple

from sorbus.avro.encode import encoder
from sorbus.mapping.convert import convert
from sorbus.mapping.default import default_value
from sorbus.privacy.mask import HIDDEN, PERSONAL, masked, masked_text
from sorbus.schema import FieldType, Kind, RecordSchema, SchemaField

REMOVE = "~remove"
_WANTED: Mapping[Kind, str] = {
    "int": f"a whole number from {-(2**31)} to {2**31 - 1}",
    "long": f"a whole number from {-(2**63)} to {2**63 - 1}",
    "float": "a number, such as 1.5",
    "double": "a number, such as 1.5",
    "boolean": "true or false",
    "timestamp": "a point in time with its time zone, such as 2024-12-31T08:30:00+00:00",
    "date": "a date, such as 2024-12-31",
    "time": "a time of day, such as 08:30:00",
    "uuid": "a UUID",
    "bytes": "bytes in hexadecimal, such as 0x00ff",
    "map": 'names and values in JSON, such as {"a": 1}',
    "array": "a list in JSON, such as [1, 2]",
}
_UNKNOWN = "there is no such field"
_ANOTHERS = (
    "this masked value isn't known to be this field's: write the value itself, or edit with personal values shown"
)
_ITEM = re.compile(r"\[(\d+)\]")


class FieldError(NamedTuple):
    """What is wrong with one field, for people; `path` is empty when it is about the whole record."""

    path: str
    message: str


class Parsed(NamedTuple):
    """A record read back: complete if there are no errors. `changed`: the paths whose values are others now."""

    record: dict[str, object]
    changed: tuple[str, ...]
    errors: tuple[FieldError, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One field as a person fills it in. `text` None: it has no value.

    `kind` "json": written as JSON. A record has `fields`; a list has `items`, each a field without a name, and `blank`
    for one more.
    """

    path: str
    label: str
    doc: str
    kind: Kind | str
    required: bool
    personal: bool
    symbols: tuple[str, ...] = ()
    text: str | None = None
    fields: tuple[Field, ...] = ()
    items: tuple[Field, ...] = ()
    blank: Field | None = None


class Form:
    """The form of one record; `hide`: personal values are shown masked."""

    def __init__(self, schema: RecordSchema, record: Mapping[str, object], *, hide: bool) -> None:
        self._schema, self._hide = schema, hide
        self._record = {field.name: _value(field, record) for field in schema.fields}

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields with their values as texts."""
        return tuple(self._field(field, field.name, self._record[field.name]) for field in self._schema.fields)

    def parse(self, texts: Mapping[str, str]) -> Parsed:
        """The record that `texts` make of this one."""
        reading = _Reading(texts, self._hide)
        record = {
            field.name: reading.value(field.type, field.name, self._record[field.name], _is_personal(field))
            for field in self._schema.fields
        }
        unknown = [
            FieldError(path, _UNKNOWN) for path in texts if path not in reading.known and not path.endswith(REMOVE)
        ]
        return Parsed(record, tuple(dict.fromkeys(reading.changed)), (*reading.errors, *unknown))

    def texts(self, document: Mapping[str, object]) -> dict[str, str]:
        """The texts by path of a record in JSON: what it leaves out stays, what lists leave out goes."""
        found: dict[str, str] = {}
        types = {field.name: field.type for field in self._schema.fields}
        for field in self.fields:
            if field.path in document:
                made = _texts(types[field.path], field.path, document[field.path], self._record[field.path])
                found |= self._placed(field, made)
        return found | {name: str(value) for name, value in document.items() if name not in types}

    def _placed(self, field: Field, texts: Mapping[str, str]) -> Mapping[str, str]:
        """`texts` of one field: a mask without its place in a list of which something changed may be another item's."""
        leaves = {each.path: each for each in _leaves(field)}
        shown = {path: each.text or "" for path, each in leaves.items()}
        same = all(text in (shown.get(path), f"{shown.get(path)} ({path})") for path, text in texts.items())
        if same or not self._hide:
            return texts
        masks = {path: shown[path] for path, each in leaves.items() if each.personal and shown[path] and "[" in path}
        return {path: f"{text} (?)" if text == masks.get(path) else text for path, text in texts.items()}

    def as_json(self) -> str:
        """The record as people edit it: JSON with a field a line, personal values masked if they are hidden."""
        document = {field.path: _document(field, hide=self._hide) for field in self.fields}
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def _field(self, field: SchemaField, path: str, value: object) -> Field:
        return self._typed(field.type, path, value, field.name, field.doc, field.required, _is_personal(field))

    def _typed(
        self, type: FieldType, path: str, value: object, name: str, doc: str, required: bool, personal: bool
    ) -> Field:
        label = name.replace("_", " ").capitalize()
        if type.kind == "record":
            inside = value if isinstance(value, Mapping) else {}
            fields = tuple(
                self._typed(
                    each.type,
                    f"{path}.{each.name}",
                    _value(each, inside) if inside else None,
                    each.name,
                    each.doc,
                    each.required,
                    personal or _is_personal(each),
                )
                for each in type.fields
            )
            return Field(path, label, doc, "record", required, personal, fields=fields)
        if type.kind == "array" and type.item is not None and not _is_json(type.item):
            values = value if isinstance(value, Sequence) else ()
            items = tuple(
                self._typed(type.item, f"{path}[{at}]", each, str(at + 1), "", False, personal)
                for at, each in enumerate(values)
            )
            blank = self._typed(type.item, f"{path}[{len(items)}]", None, "", "", False, personal)
            return Field(path, label, doc, "array", required, personal, items=items, blank=blank)
        text = _shown(type, value, hide=self._hide and personal)
        kind = "json" if _is_json(type) else type.kind
        return Field(path, label, doc, kind, required, personal, type.symbols, text)


class _Reading:
    """Texts on their way into a record."""

    def __init__(self, texts: Mapping[str, str], hide: bool) -> None:
        self._texts, self._hide = texts, hide
        self.known: set[str] = set()
        self.changed: list[str] = []
        self.errors: list[FieldError] = []

    def value(self, type: FieldType, path: str, before: object, personal: bool) -> object:
        if type.kind == "record":
            return self._record(type, path, before, personal)
        if type.kind == "array" and type.item is not None and not _is_json(type.item):
            return self._list(type.item, path, before, personal, type.nullable)
        self.known.add(path)
        text = self._texts.get(path)
        shown = [_shown(type, before, hide=False)]
        if self._hide and personal and before is not None:
            mask = _shown(type, before, hide=True)
            shown += [mask, f"{mask} ({path})"]
            shown += [json.dumps(masked(before), ensure_ascii=False)] if _is_json(type) else []
        if text is None or _lines(text) in (_lines(each or "") for each in shown):
            return self._checked(type, path, before)
        if self._hide and personal and HIDDEN in text:
            self.errors.append(FieldError(path, _ANOTHERS))
            return before
        self.changed.append(path)
        return self._parsed(type, path, _lines(text))

    def _checked(self, type: FieldType, path: str, before: object) -> object:
        """A value that stays; one that is missing and must not be is an error all the same."""
        if before is None and not type.nullable:
            self.errors.append(FieldError(path, "must have a value"))
        return before

    def _parsed(self, type: FieldType, path: str, text: str) -> object:
        if not text.strip() and (type.nullable or type.kind != "string"):
            return self._checked(type, path, None)
        try:
            if not text.strip():
                raise ValueError("must have a value")
            value = _from_text(type, text)
            encoder(type)(value)
        except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
            wanted = _wanted(type)
            self.errors.append(FieldError(path, f"write {wanted}" if wanted and text.strip() else str(error)))
            return None
        return value

    def _record(self, type: FieldType, path: str, before: object, personal: bool) -> object:
        inside = before if isinstance(before, Mapping) else None
        sent = any(name.startswith(f"{path}.") and text.strip() for name, text in self._texts.items())
        if inside is None and type.nullable and not sent:
            self.known |= {name for name in self._texts if name.startswith(f"{path}.")}
            return None
        return {
            each.name: self.value(
                each.type, f"{path}.{each.name}", _value(each, inside or {}), personal or _is_personal(each)
            )
            for each in type.fields
        }

    def _list(self, item: FieldType, path: str, before: object, personal: bool, nullable: bool) -> object:
        values = before if isinstance(before, Sequence) else ()
        found: list[object] = []
        for at in range(max([len(values), *(number + 1 for number in self._numbers(path))])):
            place = f"{path}[{at}]"
            mine = {name for name in self._texts if name == place or name.startswith((f"{place}.", f"{place}["))}
            if self._texts.get(place + REMOVE):
                self.known |= mine
                if at < len(values):
                    self.changed.append(place)
                continue
            if at < len(values):
                found.append(self.value(item, place, values[at], personal))
                continue
            self.known |= mine
            filled = {name: self._texts[name] for name in mine if self._texts[name].strip()}
            if filled:  # a new one: what is left empty gets its default
                new = _Reading(filled, self._hide)
                found.append(new.value(item, place, None, personal))
                self.changed.append(place)
                self.errors += new.errors
                self.errors += [FieldError(name, _UNKNOWN) for name in filled if name not in new.known]
        return None if nullable and before is None and not found else found

    def _numbers(self, path: str) -> Iterator[int]:
        for name in self._texts:
            if name.startswith(path) and (number := _ITEM.match(name, len(path))) and len(number[1]) < 5:
                yield int(number[1])


def _document(field: Field, *, hide: bool) -> object:
    if field.kind == "record":
        return {each.path.rpartition(".")[2]: _document(each, hide=hide) for each in field.fields}
    if field.kind == "array":
        return [_document(each, hide=hide) for each in field.items]
    if hide and field.personal and field.text:
        return f"{field.text} ({field.path})" if "[" in field.path else field.text
    return json.loads(field.text) if field.kind == "json" and field.text else field.text


def _leaves(field: Field) -> Iterator[Field]:
    inside = (*field.fields, *field.items)
    if field.kind in ("record", "array"):
        for each in inside:
            yield from _leaves(each)
    else:
        yield field


def _value(field: SchemaField, record: Mapping[str, object]) -> object:
    """A field's value; what an older schema did not have is its default."""
    return record[field.name] if field.name in record else default_value(field)


def _is_personal(field: SchemaField) -> bool:
    return PERSONAL in field.tags


def _is_json(type: FieldType) -> bool:
    inner = type.item.kind if type.item is not None else ""
    return type.kind == "map" or (type.kind == "array" and inner in ("map", "array"))


def _wanted(type: FieldType) -> str | None:
    if type.kind == "enum":
        return f"one of {', '.join(type.symbols)}"
    if type.kind == "decimal":
        before = type.precision - type.scale
        return f"a number such as 12.5, of at most {before} digits before the point and {type.scale} behind it"
    return _WANTED.get(type.kind)


def _lines(text: str) -> str:
    """Browsers end every line of a form with CR and LF, whatever ended it before."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _shown(type: FieldType, value: object, *, hide: bool) -> str | None:
    """A value as a person reads and writes it; None for none."""
    if value is None:
        return None
    if hide:
        return masked_text(value) if isinstance(value, str) else HIDDEN
    if _is_json(type):
        return json.dumps(value, ensure_ascii=False, default=_plain)
    return str(_plain(value))


def _plain(value: object) -> object:
    match value:
        case bool():
            return "true" if value else "false"
        case Decimal():
            return format(value, "f")
        case bytes():
            return f"0x{value.hex()}"
        case datetime() | date() | time():
            return value.isoformat()
        case _:
            return str(value)


def _from_text(type: FieldType, text: str) -> object:
    match type.kind:
        case "float" | "double":
            return convert(float(text), type)
        case "bytes":
            return bytes.fromhex(text.strip().removeprefix("0x"))
        case "string":
            return text
        case "map" | "array":
            return convert(_typed_json(type, json.loads(text, parse_float=Decimal)), type)
        case "timestamp":
            moment = datetime.fromisoformat(text.strip())
            if moment.tzinfo is None:
                raise ValueError("no time zone")
            return moment
        case "uuid":
            return str(convert(text.strip(), type))
        case _:
            return convert(text.strip(), type)


def _typed_json(type: FieldType, value: object) -> object:
    """What JSON has no type for, as `_shown` writes it: binary fractions and bytes."""
    match type.kind:
        case "float" | "double" if isinstance(value, Decimal):
            return float(value)
        case "bytes" if isinstance(value, str):
            return bytes.fromhex(value.removeprefix("0x"))
        case "map" if isinstance(value, Mapping) and type.item is not None:
            return {name: _typed_json(type.item, inner) for name, inner in value.items()}
        case "array" if isinstance(value, list) and type.item is not None:
            return [_typed_json(type.item, inner) for inner in value]
        case "record" if isinstance(value, Mapping):
            types = {field.name: field.type for field in type.fields}
            return {name: _typed_json(types[name], inner) if name in types else inner for name, inner in value.items()}
        case _:
            return value


def _texts(type: FieldType | None, path: str, value: object, before: object) -> dict[str, str]:
    if type is not None and type.kind == "record" and isinstance(value, Mapping):
        types = {field.name: field.type for field in type.fields}
        inside = before if isinstance(before, Mapping) else {}
        found: dict[str, str] = {}
        for name, inner in value.items():
            found |= _texts(types.get(name), f"{path}.{name}", inner, inside.get(name))
        return found
    if type is not None and type.kind == "array" and not _is_json(type) and isinstance(value, Sequence):
        values = before if isinstance(before, Sequence) else ()
        found = {f"{path}[{at}]{REMOVE}": "yes" for at in range(len(value), len(values))}
        for at, inner in enumerate(value):
            found |= _texts(type.item, f"{path}[{at}]", inner, values[at] if at < len(values) else None)
        return found
    if value is None:
        return {path: ""}
    if isinstance(value, Mapping | list):
        return {path: json.dumps(value, ensure_ascii=False, default=_plain)}
    return {path: str(_plain(value))}
