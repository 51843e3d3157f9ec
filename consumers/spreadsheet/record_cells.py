"""From a canonical record to the cells of its row; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from sorbus.connector import BoundFlow, Delivery
from sorbus.consumers.spreadsheet.options import SpreadsheetTarget
from sorbus.errors import PermanentError
from sorbus.mapping.assign import assign_target
from sorbus.mapping.errors import shown
from sorbus.mapping.filters.text import as_text
from sorbus.mapping.record import target_maker
from sorbus.privacy.mask import personal_names
from sorbus.schema import FieldType
from sorbus.spreadsheet.sheet_edit import Value
from sorbus.spreadsheet.text_edit import TextStyle, require_encodable, unshielded, written

_LONGEST = 32_767
_DIGITS = 15
_FIRST_DAY = date(1900, 3, 1)
Row = dict[str, Value]


class RecordCells:
    """One flow's. `columns`: those that Sorbus writes, in order, the key first."""

    def __init__(self, flow: BoundFlow) -> None:
        """MapError with every fault of the mapping."""
        options = flow.options
        assert isinstance(options, SpreadsheetTarget)
        self._options = options
        self._style = TextStyle(options.numbers, options.dates)
        parts = assign_target(
            flow.mapping, flow.system.name, flow.flow.data_type, flow.schema, {"": options.resource}, flow.lookups
        )
        self._make: Callable[[Delivery], dict[str, object]] = target_maker(flow, options.resource)
        kinds = {field.name: field.type for field in flow.schema.fields}
        self.left_out = [
            one.into for one in parts[""] if one.row is None and one.source in kinds and not _fits(kinds[one.source])
        ]
        """Fields without a row of the mapping sheet that no cell can hold."""
        own = [one.into for one in parts[""] if one.into not in self.left_out]
        self._has_id = any(one.row is None and one.into == "id" for one in parts[""]) and options.key != "id"
        own = [name for name in own if not (self._has_id and name == "id")]
        personal = personal_names(flow.schema.fields)
        self.personal = [
            one.into
            for one in parts[""]
            if one.into in own
            and one.into != options.key
            and {one.source, *(one.rule.uses if one.rule else ())} & personal
        ]
        """Columns that hold personal values."""
        self.fills_key = options.key not in own
        marks = [options.deleted_column] if flow.flow.deletes == "soft" else []
        self.columns = list(dict.fromkeys([options.key, *own, *marks]))
        self._own = own
        self._as_they_are = {one.into for one in parts[""] if one.rule is None}
        """Columns without a rule: a canonical decimal's zeros at the end say nothing there."""

    def row(self, delivery: Delivery) -> Row:
        """The cells by column. PermanentError names field, value and cause."""
        made = self._make(delivery)
        row: Row = {}
        if self.fills_key:
            row[self._options.key] = delivery.id.decode(errors="replace")
        for name in self._own:
            value = made.get(name)
            if isinstance(value, Decimal) and name in self._as_they_are:
                text = as_text(value)  # and no arithmetic, which is exact to 28 digits only
                value = Decimal(text.rstrip("0").rstrip(".") if "." in text else text)
            row[name] = self._cell(name, value)
        key = self.key_of(row)
        if not key:
            raise PermanentError(
                f"the key column {self._options.key} would be empty: fill the field, or take another `key:`",
                reason="no key",
                field=self._options.key,
            )
        if "\0" in key:
            raise PermanentError(
                f"the key {shown(key)} has a zero byte, which Sorbus's state can't hold: correct it in the owner",
                reason="a zero byte",
                field=self._options.key,
            )
        return row

    def key_of(self, row: Mapping[str, Value]) -> str:
        """The key as it is compared: as it is found in the file once it was written."""
        return self.key_text(row.get(self._options.key))

    def key_text(self, value: Value) -> str:
        """A value of the key column as it is compared."""
        return key_text(value if self._options.is_workbook else unshielded(written(value, self._style)))

    def check_text(self, row: Row, style: TextStyle, encoding: str) -> None:
        """PermanentError where a text file's encoding lacks a letter, or no text file holds it."""
        for name, value in row.items():
            text = written(value, style)
            if "\0" in text:
                raise PermanentError(
                    f"column {name}: the value has a zero byte, which no text file can hold: correct it"
                    " in the owner, or take it out by a rule",
                    reason="a zero byte",
                    field=name,
                    value=value,
                )
            require_encodable(text, encoding, self._options.file)

    def _cell(self, column: str, value: object) -> Value:
        try:
            return self._value(value)
        except (ValueError, OverflowError) as error:
            raise PermanentError(
                f"column {column}: {error}", reason="a value that no cell holds", field=column, value=value
            ) from error

    def _value(self, value: object) -> Value:
        match value:
            case None | bool():
                return value
            case str():
                return self._text(value)
            case UUID() | time():
                return str(value)
            case float():
                return Decimal(repr(value)) if value == value and abs(value) != float("inf") else self._text(str(value))
            case int() | Decimal():
                return self._number(value)
            case datetime():
                return self._moment(value)
            case date():
                return value if value >= _FIRST_DAY or not self._options.is_workbook else value.isoformat()
            case list() | tuple() if all(isinstance(each, str | int | Decimal) for each in value):
                return self._text("; ".join(as_text(each) for each in value))
            case _:
                raise ValueError(f"{shown(value)} fits into no cell; write a rule such as value | join")

    def _text(self, text: str) -> str:
        if self._options.is_workbook and len(text.encode("utf-16-le")) // 2 > _LONGEST:
            raise ValueError(f"the text has {len(text)} characters, and a cell holds {_LONGEST}")
        return text

    def _number(self, number: int | Decimal) -> int | Decimal:
        if not self._options.is_workbook:
            return number
        digits = "".join(map(str, Decimal(number).as_tuple().digits)).strip("0")
        if len(digits) > _DIGITS:
            raise ValueError(
                f"{shown(number)} has more than {_DIGITS} digits, of which spreadsheets keep {_DIGITS}: write it as"
                " text by the rule value | text"
            )
        return number

    def _moment(self, moment: datetime) -> Value:
        zone = self._options.time_zone
        if not zone or moment.year < 1901:
            return as_text(moment)
        placed = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        if not self._options.is_workbook:
            return placed
        return placed + timedelta(microseconds=round(placed.microsecond, -3) - placed.microsecond)


def key_text(value: object) -> str:
    """A key as text, whether a program has made a number of it or not."""
    text = "" if value is None else as_text(value)
    if isinstance(value, Decimal) and value == value.to_integral_value():
        text = str(int(value))
    return " ".join(text.split())


def _fits(kind: FieldType) -> bool:
    if kind.kind == "array":
        return kind.item is not None and kind.item.kind in ("string", "enum", "int", "long", "decimal", "uuid")
    return kind.kind not in ("map", "record", "bytes")
