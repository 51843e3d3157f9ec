"""The sheet's rows as a producer or consumer needs them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.errors import MapError
from sorbus.mapfile.model import FieldMapping
from sorbus.mapping.assign import Parts, assign_source, assign_target
from sorbus.mapping.field_refs import FieldRef, canonical_ref, canonical_reference, column_reference, column_refs
from sorbus.schema import RecordSchema, parse_schema

ORDER: RecordSchema = parse_schema("""
{
  "type": "record",
  "name": "order",
  "fields": [
    {
      "name": "number",
      "type": "string"
    },
    {
      "name": "total",
      "type": {
        "type": "bytes",
        "logicalType": "decimal",
        "precision": 9,
        "scale": 2
      }
    },
    {
      "name": "lines",
      "default": [],
      "type": {
        "type": "array",
        "items": {
          "type": "record",
          "name": "line",
          "fields": [
            {
              "name": "sku",
              "type": "string"
            },
            {
              "name": "quantity",
              "type": "int"
            }
          ]
        }
      }
    }
  ]
}
""")
TABLES = {"": "public.orders", "lines": "public.order_lines"}


def row(source: str, target: str, rule: str = "", line: int = 2) -> FieldMapping:
    """`row("shop orders.no", "canonical order.number")`; a field may be missing."""
    (one, _, field), (two, _, into) = source.partition(" "), target.partition(" ")
    return FieldMapping(
        source_system=one, source_field=field, target_system=two, target_field=into, rule=rule,
        file=Path("shop.csv"), line=line,
    )  # fmt: skip


def source(*rows: FieldMapping, resources: dict[str, str] | None = None) -> Parts:
    return assign_source(rows, "shop", "order", ORDER, resources or TABLES, {})


def target(*rows: FieldMapping, resources: dict[str, str] | None = None) -> Parts:
    return assign_target(rows, "shop", "order", ORDER, resources or TABLES, {})


def pairs(parts: Parts) -> dict[str, list[tuple[str, str | None]]]:
    return {part: [(item.into, item.source) for item in items] for part, items in parts.items()}


def test_without_rows_same_named_fields_are_assigned() -> None:
    assert pairs(source()) == {
        "": [("number", "number"), ("total", "total")],
        "lines": [("sku", "sku"), ("quantity", "quantity")],
    }
    assert pairs(target()) == {
        "": [("id", "id"), ("number", "number"), ("total", "total")],
        "lines": [("id", "id"), ("sku", "sku"), ("quantity", "quantity")],
    }


def test_a_list_without_a_resource_of_its_own_is_a_field() -> None:
    assert ("lines", "lines") in pairs(target(resources={"": "orders"}))[""]


@pytest.mark.parametrize("column", ["public.orders.no", "orders.no", "orders[].no", "no"])
def test_a_resource_may_be_shortened(column: str) -> None:
    rows = (row(f"shop {column}", "canonical order.number"),)

    assert pairs(source(*rows))[""] == [("number", "no")]


def test_items_of_a_list_are_assigned_to_their_part() -> None:
    parts = source(
        row("shop orders.no", "canonical order.number"),
        row("shop order_lines[].article", "canonical order.lines[].sku", "value | trim"),
        row("shop", "canonical order.lines[].quantity", "1"),
    )

    assert pairs(parts) == {"": [("number", "no")], "lines": [("sku", "article"), ("quantity", None)]}
    rule = parts["lines"][0].rule
    assert rule is not None
    assert rule(" a ", {}) == "a"


def test_a_list_has_its_parents_id() -> None:
    parts = target(row("canonical order.id", "shop order_lines.order_no"), row("canonical order.id", "shop orders.no"))

    assert pairs(parts) == {"": [("no", "id")], "lines": [("order_no", "id")]}


def test_rows_of_other_systems_data_types_and_resources_are_left_alone() -> None:
    rows = [
        row("other orders.no", "canonical order.number"),
        row("shop orders.no", "canonical invoice.number"),
        row("shop invoices.no", "canonical order.number"),
        row("canonical order.number", "shop orders.no"),
        row("canonical order.number", "shop archive.no"),
    ]

    assert pairs(source(*rows)) == pairs(source())
    assert pairs(target(*rows))[""] == [("no", "number")]


def test_a_part_without_rows_takes_same_named_fields() -> None:
    parts = target(row("canonical order.number", "shop orders.no"))

    assert pairs(parts)["lines"] == [("id", "id"), ("sku", "sku"), ("quantity", "quantity")]


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(MapError) as refused:
        source(
            row("shop orders.no", "canonical order.nmber", line=2),
            row("shop orders.no", "canonical order.lines[].sku", line=3),
            row("shop orders.no", "canonical order.number", "value | trmi", line=4),
            row("shop", "canonical order.total", "value | decimal", line=5),
        )

    assert [(found.line, found.code) for found in refused.value.findings] == [
        (2, "unknown-field"),
        (3, "other-part"),
        (4, "bad-rule"),
        (5, "no-source"),
    ]


def test_a_rule_over_canonical_fields_is_read_with_their_kinds() -> None:
    with pytest.raises(MapError, match="trim takes text, not a decimal number"):
        target(row("canonical order.total", "shop orders.total", "value | trim"))
    with pytest.raises(MapError, match="did you mean number"):
        target(row("canonical", "shop orders.total", "record.numbr"))


NAMES = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)


@given(data_type=NAMES, part=st.just("") | NAMES, name=NAMES)
def test_a_canonical_reference_is_read_as_it_is_written(data_type: str, part: str, name: str) -> None:
    place = FieldRef(part, name)

    assert canonical_ref(canonical_reference(place, data_type)) == place


@given(schema=NAMES, table=NAMES, column=NAMES, other=NAMES)
def test_a_column_is_found_by_its_full_reference(schema: str, table: str, column: str, other: str) -> None:
    resources = {"": f"{schema}.{table}", "items": f"{schema}.{table}_{other}"}

    assert column_refs(f"{schema}.{table}.{column}", resources) == [FieldRef("", column)]
    assert column_refs(f"{schema}.{table}_{other}[].{column}", resources) == [FieldRef("items", column)]


def test_the_longest_match_counts() -> None:
    resources = {"": "orders", "items": "archive.orders"}

    assert column_refs("archive.orders.no", resources) == [FieldRef("items", "no")]
    held = {"": "contacts", "lines": "contacts.LineItems"}
    for name in ("SalesDetails.UnitPrice", "Phones[PhoneType=MOBILE].PhoneNumber", "fields[name=a.b].value"):
        assert column_refs(f"contacts.{name}", held) == [FieldRef("", name)]
    assert column_refs("contacts.LineItems[].Item.Code", held) == [FieldRef("lines", "Item.Code")]
    assert column_reference(FieldRef("lines", "Item.Code"), held) == "contacts.LineItems.Item.Code"
    assert column_refs("orders.address.city", resources) == [
        FieldRef("", "address.city"),
        FieldRef("items", "address.city"),
    ]
