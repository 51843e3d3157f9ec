"""The Python types of each canonical type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from uuid import UUID

from sorbus.schema import Kind

TEXT: frozenset[Kind] = frozenset({"string", "enum", "uuid"})
WHOLE: frozenset[Kind] = frozenset({"int", "long"})
FLOAT: frozenset[Kind] = frozenset({"float", "double"})
EXACT: frozenset[Kind] = WHOLE | {"decimal"}
NUMBER: frozenset[Kind] = EXACT | FLOAT
LIST: frozenset[Kind] = frozenset({"array"})
SCALAR: frozenset[Kind] = TEXT | NUMBER | {"boolean", "bytes", "timestamp", "date", "time"}

_PYTHON: Mapping[Kind, tuple[type, ...]] = {
    "string": (str,),
    "enum": (str,),
    "uuid": (UUID, str),
    "int": (int,),
    "long": (int,),
    "float": (float,),
    "double": (float,),
    "decimal": (Decimal,),
    "boolean": (bool,),
    "bytes": (bytes,),
    "timestamp": (datetime,),
    "date": (date,),
    "time": (time,),
    "array": (list, tuple),
    "map": (dict,),
    "record": (dict,),
}
_WORDS: Mapping[Kind, str] = {
    "string": "text",
    "enum": "one of a few words",
    "uuid": "a UUID",
    "int": "a whole number",
    "long": "a whole number",
    "float": "a binary fraction",
    "double": "a binary fraction",
    "decimal": "a decimal number",
    "boolean": "true or false",
    "bytes": "bytes",
    "timestamp": "a point in time",
    "date": "a date",
    "time": "a time of day",
    "array": "a list",
    "map": "a map",
    "record": "a record",
}


def python_types(kinds: Iterable[Kind]) -> frozenset[type]:
    """The Python classes of values of `kinds`."""
    return frozenset(found for kind in kinds for found in _PYTHON[kind])


def in_words(kinds: Iterable[Kind]) -> str:
    """`text`, `a date or a point in time`: for messages."""
    wanted = set(kinds)
    if wanted >= SCALAR:
        return "a single value"
    wanted -= TEXT - {"string"} if wanted >= TEXT else set()
    names = [words for kind, words in _WORDS.items() if kind in wanted]
    names = list(dict.fromkeys(names))
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def stands_for(value: object, types: frozenset[type]) -> bool:
    """Whether `value` is an instance of one of `types` or a subclass; booleans are not numbers."""
    return any(found in types for found in type(value).__mro__) if type(value) is not bool else bool in types
