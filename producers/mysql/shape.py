"""How a table's rows become canonical Avro, by the mapping; no I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import partial

from sorbus.avro.encode import encoder
from sorbus.errors import PermanentError
from sorbus.mapping.assign import Assignment
from sorbus.mapping.convert import converter
from sorbus.mapping.default import encoded_default
from sorbus.mapping.filters.moment import placed
from sorbus.mapping.rule import RuleError
from sorbus.mysql.catalog import MysqlColumn
from sorbus.producers.mysql.options import MysqlSource
from sorbus.schema import FieldType, SchemaField

_FAULTS = (ValueError, TypeError, ArithmeticError, LookupError, RecursionError, RuleError)
_LONGEST_SHOWN = 100_000
"""Characters of a column in a dead letter."""
_ZERO = "0000-00-00"
_DATED = re.compile(r"\d{4}-\d\d-\d\d")


class MappedRows:
    """Encodes the rows of one table, for a record or for a list's items. Rows are columns by name."""

    def __init__(
        self,
        fields: Sequence[SchemaField],
        assignments: Iterable[Assignment],
        options: MysqlSource,
        columns: Mapping[str, MysqlColumn],
        once: Iterable[str] = (),
    ) -> None:
        """`columns`: those that the table has; `once`: those that it had when it was captured before."""
        had = set(once)
        by_field = {each.into: each for each in assignments}
        self.names = [field.name for field in fields]
        self._steps = [_Step(field, by_field.get(field.name), options, columns, had) for field in fields]
        self.columns = sorted({name for step in self._steps for name in step.columns})
        """The columns that are read."""

    def encode(self, row: Mapping[str, object]) -> dict[str, bytes]:
        """Each field's Avro. PermanentError names field, value and rule."""
        return {step.field.name: step.encode(row) for step in self._steps}


class _Step:
    """One canonical field of a row."""

    def __init__(
        self,
        field: SchemaField,
        assignment: Assignment | None,
        options: MysqlSource,
        columns: Mapping[str, MysqlColumn],
        once: set[str],
    ) -> None:
        self.field, self._assignment = field, assignment
        self._avro, self._unfilled = encoder(field.type), encoded_default(field)
        self._convert = converter(field.type)
        self._prepare: Callable[[object], object] = partial(_prepared, field.type, options)
        column = columns.get(assignment.source or "") if assignment is not None else None
        if column is not None and column.type == "set" and field.type.kind == "array":
            self._prepare = _labels
        named = set[str]()
        if assignment is not None:
            named = {
                *([assignment.source] if assignment.source else []),
                *(assignment.rule.uses if assignment.rule else ()),
            }
        gone = named - columns.keys()
        is_same_name = assignment is not None and assignment.row is None
        self._gone = sorted(gone & once if is_same_name else gone)
        self.is_filled = assignment is not None and not (is_same_name and gone)
        self.columns = named & columns.keys()

    def encode(self, row: Mapping[str, object]) -> bytes:
        assignment = self._assignment
        if self._gone:
            raise PermanentError(
                f"field {self.field.name}: column {', '.join(self._gone)} is gone from the table: name the right one in"
                " the mapping sheet, or delete the row if there is none any more, and restart the producer",
                reason="drift",
                field=self.field.name,
            )
        if assignment is None or not self.is_filled:
            if self._unfilled is not None:
                return self._unfilled
            raise self._refusal(None, "nothing fills it, and it must have a value; map a column to it")
        value = row.get(assignment.source) if assignment.source else None
        try:
            if assignment.rule is not None:
                return self._avro(self._convert(assignment.rule(value, row)))
            return self._avro(self._convert(self._prepare(value)))
        except _FAULTS as error:
            raise self._refusal(value, str(error)) from error

    def _refusal(self, value: object, why: str) -> PermanentError:
        assignment = self._assignment
        column = f" (column {assignment.source})" if assignment and assignment.source else ""
        shown = "" if value is None else f" from {shown_value(value)[:80]!r}"
        return PermanentError(
            f"field {self.field.name}{column}{shown}: {why}",
            reason="not canonical",
            field=self.field.name,
            value=None if value is None else shown_value(value),
            rule=assignment.rule.text if assignment and assignment.rule else None,
        )


def _prepared(kind: FieldType, options: MysqlSource, value: object) -> object:
    """A column's value for a field without a rule; ValueError."""
    if value is None:
        return None
    if kind.kind == "boolean" and isinstance(value, int) and value in (0, 1):  # tinyint(1), bit(1)
        return bool(value)
    if kind.kind in ("date", "timestamp"):
        if isinstance(value, str):
            if value.startswith(_ZERO) and not value.strip("0-:. "):
                if options.zero_dates == "null":
                    return None
                raise ValueError(
                    "the date is all zeros, which no calendar has: write `zero_dates: null` under the data type's"
                    " `source:` if that means that there is none, or fix the row at its owner"
                )
            if _DATED.match(value) and not _is_date(value[:10]):
                raise ValueError("no calendar has this date: fix the row at its owner")
        if isinstance(value, datetime) and value.tzinfo is None and kind.kind == "timestamp":
            if options.zone is None:
                raise ValueError(
                    "a datetime column has no time zone: write `time_zone: Europe/Zurich` under the data type's"
                    " `source:`"
                )
            return placed(value, options.time_zone or "")
    if kind.kind in ("map", "record", "array") and isinstance(value, str):
        if kind.kind == "array" and not value:
            return []
        return json.loads(value, parse_float=Decimal)
    return value


def _labels(value: object) -> object:
    """A set's labels, which have no commas."""
    return str(value).split(",") if value else None if value is None else []


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def shown_value(value: object) -> str:
    """A value for a dead letter."""
    if isinstance(value, bytes):
        text = f"0x{value[: _LONGEST_SHOWN // 2].hex()}"
    else:
        text = f"{value:f}" if isinstance(value, Decimal) else str(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def raw_row(row: Mapping[str, object]) -> bytes:
    """A row as JSON for a dead letter: column -> text or null."""
    shown = {name: None if value is None else shown_value(value) for name, value in row.items()}
    return json.dumps(shown, ensure_ascii=False).encode(errors="backslashreplace")
