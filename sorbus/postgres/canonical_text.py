"""The forms of values for comparison, as SQL expressions whose output text is the same in every database.

An expression never fails for any value of its type: one that could is left out, and the field is compared another way.
Both sides connect with the same session settings (`sorbus.postgres.connection`), which fix how PostgreSQL writes them.
"""

from __future__ import annotations

from collections.abc import Mapping

from psycopg import sql

from sorbus.checksums import Form
from sorbus.postgres.catalog import Column
from sorbus.schema import FieldType, Kind

_TEXT, _VARCHAR, _BPCHAR, _NAME, _CHAR, _JSON, _JSONB = 25, 1043, 1042, 19, 18, 114, 3802
_INTEGERS = frozenset({20, 21, 23, 26})
_NUMERIC, _FLOAT4, _FLOAT8, _BOOL, _BYTEA, _UUID, _MONEY = 1700, 700, 701, 16, 17, 2950, 790
_DATE, _TIME, _TIMESTAMP, _TIMESTAMPTZ = 1082, 1083, 1114, 1184
_ELEMENTS: Mapping[Form, frozenset[int]] = {
    "texts": frozenset({_TEXT, _VARCHAR}),
    "integers": frozenset({20, 21, 23}),
    "booleans": frozenset({_BOOL}),
    "uuids": frozenset({_UUID}),
    "dates": frozenset({_DATE}),
    "timestamps": frozenset({_TIMESTAMPTZ}),
}
_LISTS: Mapping[Kind, Form] = {
    "string": "texts", "int": "integers", "long": "integers", "boolean": "booleans", "uuid": "uuids", "date": "dates",
    "timestamp": "timestamps",
}  # fmt: skip
_NOT_AS_STORED = frozenset({_BOOL, _BYTEA, _FLOAT4, _FLOAT8, _TIME, _TIMESTAMP, _TIMESTAMPTZ, _MONEY})
"""Types that don't become a canonical string as PostgreSQL writes them."""


def target_form(column: Column, type: FieldType | None) -> Form | None:
    """The form in which a target's column is compared that holds a canonical value of `type` (None: the record's id).

    None where the column may hold the same value written in another way.
    """
    base, kind = column.base, "string" if type is None else type.kind
    if column.element:
        form = _LISTS.get(type.item.kind) if type is not None and type.item is not None else None
        return form if form is not None and column.element in _ELEMENTS[form] else None
    match kind:
        case "string" | "enum" if base in (_TEXT, _VARCHAR, _NAME, _JSON) or column.typtype == "e":
            return "text"
        case "string" | "enum" if base == _BPCHAR:
            return "padded"
        case "string" if base == _JSONB:
            return "json"
        case "uuid" if base in (_UUID, _TEXT, _VARCHAR):
            return "uuid"
        case "int" | "long" if base in _INTEGERS or base in (_NUMERIC, _TEXT, _VARCHAR):
            return "integer"
        case "decimal" if base in _INTEGERS or base == _NUMERIC:
            return "number"
        case "double" if base == _FLOAT8:
            return "double"
        case "boolean" if base == _BOOL:
            return "boolean"
        case "bytes" if base == _BYTEA:
            return "bytes"
        case "timestamp" if base in (_TIMESTAMP, _TIMESTAMPTZ):
            return "timestamp"
        case "date" if base == _DATE:
            return "date"
        case "time" if base == _TIME:
            return "time"
        case _ if type is None and base in (_UUID, *_INTEGERS):
            return "text"
    return None


def target_text(column: Column, form: Form, value: sql.Composable) -> sql.Composable:
    """The expression of a target's column in its `target_form`."""
    if form == "native":
        return value
    if form == "padded":
        return _unpadded(value)
    if form == "timestamp" and column.base == _TIMESTAMP:
        return sql.SQL("{} at time zone 'UTC'").format(value)
    if column.base == _NUMERIC or form == "number":
        return sql.SQL("trim_scale({}::numeric)").format(value)
    return value


def owner_text(column: Column, type: FieldType, form: Form, value: sql.Composable) -> sql.Composable | None:
    """The expression of an owner's column that becomes a canonical value of `type` without a rule, in `form`.

    None where what the column becomes isn't known to be written so.
    """
    base = column.base
    if form in _ELEMENTS:
        return value if column.element in _ELEMENTS[form] and column.delimiter == "," else None
    match form:
        case "text" | "padded" if type.kind in ("string", "enum") and base not in _NOT_AS_STORED:
            return _unpadded(value) if form == "padded" else value
        case "json" if base == _JSONB and type.kind == "string":
            return value
        case "uuid" if base == _UUID:
            return value
        case "integer" if base in _INTEGERS:
            return value
        case "integer" if base == _NUMERIC:
            return sql.SQL("trim_scale({}::numeric)").format(value)
        case "number" if base in _INTEGERS or base == _NUMERIC:
            return sql.SQL("trim_scale({}::numeric)").format(value)
        case "double" if base == _FLOAT8:
            return value
        case "double" if base == _FLOAT4:
            return sql.SQL("{}::text::double precision").format(value)
        case "double" if base in (20, 21, 23):
            return sql.SQL("{}::double precision").format(value)
    same = {"boolean": _BOOL, "bytes": _BYTEA, "timestamp": _TIMESTAMPTZ, "date": _DATE, "time": _TIME}
    return value if same.get(form) == base else None


def id_text(column: Column, value: sql.Composable) -> sql.Composable:
    """A key column as it is written in a record's id: its output text, blanks of char(n) included."""
    if column.base in (_TEXT, _VARCHAR, _NAME, *_INTEGERS, _UUID):
        return sql.SQL("{}::text").format(value)
    return sql.SQL("format('%s', {})").format(value)


def _unpadded(value: sql.Composable) -> sql.Composable:
    return sql.SQL("rtrim({}::text, ' ')").format(value)
