"""A row through the function made for a whole row, and field by field: the same Avro, or the same refusal."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sorbus.errors import PermanentError
from sorbus.mapfile.model import FieldMapping
from sorbus.mapping.assign import Assignment
from sorbus.mapping.rule import RuleError, compile_rule
from sorbus.producers.postgres.layout import RowLayout
from sorbus.schema import AvroType, RecordSchema, parse_schema
from tests.mapping.rules import LOOKUPS, RULES, TEXTS
from tests.search import examples

ROW = FieldMapping(file=Path("sheet.csv"), line=2, source_system="crm", target_system="canonical",
                   source_field="people.value", target_field="person.first", rule="", notes="")  # fmt: skip
CENTS: AvroType = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
OIDS = {"value": 25, "a": 1043, "b": 25, "amount": 1700, "day": 1082, "gone": 25}
KINDS: list[AvroType] = ["string", "long", "boolean", CENTS, {"type": "int", "logicalType": "date"}]


def schema(first: AvroType, second: AvroType) -> RecordSchema:
    fields: list[AvroType] = [
        {"name": "first", "type": ["null", first], "default": None},
        {"name": "second", "type": second},
        {"name": "third", "type": ["null", "string"], "default": None},
    ]
    return parse_schema({"type": "record", "name": "person", "fields": fields})


def one_by_one(layout: RowLayout, row: list[bytes | None]) -> list[bytes] | str:
    """What the fields' own encoders give, which ask the rules' closures in the end."""
    try:
        return [layout._exactly(step, row) for step in layout.steps]
    except PermanentError as error:
        return f"{error.field}: {error}"


@pytest.mark.search
@settings(max_examples=examples(500), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rules=st.tuples(RULES, RULES),
    kinds=st.tuples(st.sampled_from(KINDS), st.sampled_from(KINDS)),
    sources=st.tuples(st.sampled_from(["value", "amount", "day", None]), st.sampled_from(["value", "a", None])),
    rows=st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=6),
)
def test_a_whole_row_is_what_its_fields_are_one_by_one(
    rules: tuple[str, str],
    kinds: tuple[AvroType, AvroType],
    sources: tuple[str | None, str | None],
    rows: list[tuple[str | None, str | None, str | None]],
) -> None:
    assignments = []
    for into, text, source in zip(("first", "second"), rules, sources, strict=True):
        try:
            assignments.append(Assignment(into, source, compile_rule(text, lookups=LOOKUPS), ROW))
        except RuleError:
            return
    assignments.append(Assignment("third", "b", None, ROW))
    layout = RowLayout(schema(*kinds).fields, assignments, OIDS)
    for texts in [*rows, *rows]:  # the second time out of the tables
        cells = [None if text is None else text.encode() for text in texts]
        row = [*cells, b"12.50", b"2026-11-24", None]
        expected = one_by_one(layout, row)
        try:
            found: list[bytes] | str = layout.encode(row)
        except PermanentError as error:
            found = f"{error.field}: {error}"
        assert found == expected
