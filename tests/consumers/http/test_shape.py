"""Fields by paths and lists, compared by meaning; and what a plan says against a flow that can't work."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.connector import BoundFlow, BoundSystem
from sorbus.consumers.http.compare import body, differing, same
from sorbus.consumers.http.options import HttpTarget
from sorbus.consumers.http.plan import check_flow
from sorbus.consumers.http.shape import Shape
from sorbus.errors import MapError, PermanentError
from sorbus.http_api.connection import HttpConnection, application
from sorbus.http_api.description import ApiField
from sorbus.http_api.interface import Json
from sorbus.mapfile.model import DataType, FieldMapping, Flow, System
from tests.consumers.gadgets import GADGET_WITH_LINES, PRICE, TODAY, Writer, gadget

DESCRIPTION: dict[str, Any] = {
    "api": "books",
    "title": "Books",
    "base_url": "http://127.0.0.1:1",
    "resources": {
        "invoices": {
            "id": "InvoiceID",
            "marker": "Reference",
            "lists": {"lines": "LineItems"},
            "search": {"Reference": {"path": "/search", "parameters": {"q": "{value}"}}},
            "get": {"path": "/invoices/{id}"},
            "create": {"method": "POST", "path": "/invoices"},
            "update": {"method": "POST", "path": "/invoices/{id}", "partial": True},
            "fields": {
                "InvoiceID": {"read_only": True},
                "Reference": {},
                "Contact.Name": {"required": True},
                "Phones[PhoneType=MOBILE].PhoneNumber": {},
                "Total": {"kind": "decimal"},
                "Date": {"kind": "date"},
                "Type": {"once": True},
                "LineItems": {"kind": "list"},
                "LineItems[].ItemCode": {},
                "LineItems[].Quantity": {"kind": "number"},
            },
        }
    },
}
ROWS = [
    ("gadget.name", "invoices.Contact.Name", ""),
    ("gadget.note", "invoices.Phones[PhoneType=MOBILE].PhoneNumber", ""),
    ("gadget.price", "invoices.Total", ""),
    ("gadget.made_on", "invoices.Date", ""),
    ("", "invoices.Type", '"ACCREC"'),
    ("gadget.lines[].sku", "invoices.lines[].ItemCode", "value | upper"),
    ("gadget.lines[].quantity", "invoices.lines[].Quantity", ""),
]


def flow_of(
    tmp_path: Path, rows: list[tuple[str, str, str]] = ROWS, deletes: str = "ignore", **target: object
) -> BoundFlow:

    (tmp_path / "books.yaml").write_text(json.dumps(DESCRIPTION))
    mapping = tuple(
        FieldMapping(
            source_system="canonical",
            source_field=source,
            target_system="books",
            target_field=into,
            rule=rule,
            file=tmp_path / "books.csv",
            line=line,
        )
        for line, (source, into, rule) in enumerate(rows, 2)
    )
    options = HttpTarget.model_validate({"resource": "invoices", "lists": {"lines": "lines"}, **target})
    system = BoundSystem(
        "books", System(kind="http"), HttpConnection.model_validate({"api": "books.yaml"}), folder=tmp_path
    )
    flow = Flow.model_validate({"data_type": "gadget", "to": "books", "deletes": deletes})
    return BoundFlow(flow, DataType(), GADGET_WITH_LINES, mapping, options, system)


def shape_of(flow: BoundFlow) -> Shape:
    return Shape(flow, application(flow.system).description)


WHOLE = gadget("Ada", note="123", price=PRICE, made_on=TODAY, lines=[{"sku": "a", "quantity": 2}])


def test_paths_lists_and_rules_make_one_record(tmp_path: Path) -> None:
    wanted = shape_of(flow_of(tmp_path))(Writer(GADGET_WITH_LINES).delivery("g1", 1, WHOLE))
    assert body(wanted.fields) == {
        "Contact": {"Name": "Ada"},
        "Phones": [{"PhoneType": "MOBILE", "PhoneNumber": "123"}],
        "Total": Decimal("12.50"),
        "Date": "2026-11-23",
        "Type": "ACCREC",
        "LineItems": [{"ItemCode": "A", "Quantity": 2}],
    }


def test_a_record_is_matched_by_the_field_that_copies_its_key_not_by_a_constant(tmp_path: Path) -> None:
    rows = [
        ("gadget.note", "invoices.Total", "value | decimal"),
        ("gadget.note", "invoices.Contact.Name", ""),
        ("gadget.note", "invoices.Type", '"ACCREC"'),
        ("gadget.price", "invoices.Date", '"2026-11-23"'),
    ]
    assert shape_of(flow_of(tmp_path, rows, lists={})).into == {"note": "Contact.Name"}


def test_what_the_application_gives_back_in_its_own_way_does_not_differ(tmp_path: Path) -> None:
    shape = shape_of(flow_of(tmp_path))
    wanted = shape(Writer(GADGET_WITH_LINES).delivery("g1", 1, WHOLE))
    current: Json = {
        "InvoiceID": "x",
        "Contact": {"Name": "Ada ", "ContactID": "c"},
        "Phones": [{"PhoneType": "FAX", "PhoneNumber": "9"}, {"PhoneType": "MOBILE", "PhoneNumber": "123"}],
        "Total": "12.5000",
        "Date": "2026-11-23T00:00:00",
        "Type": "ACCPAY",
        "LineItems": [{"LineItemID": "l", "ItemCode": "A", "Quantity": Decimal("2.0")}],
    }
    assert differing(wanted.fields, current, shape.resource.fields, shape.items) == {}
    current["Phones"][1]["PhoneNumber"] = "124"
    current["LineItems"][0]["Quantity"] = 3
    changes = differing(wanted.fields, current, shape.resource.fields, shape.items)
    assert body(changes, current) == {
        "Phones": [{"PhoneType": "FAX", "PhoneNumber": "9"}, {"PhoneType": "MOBILE", "PhoneNumber": "123"}],
        "LineItems": [{"ItemCode": "A", "Quantity": 2}],
    }
    assert current["Phones"][1]["PhoneNumber"] == "124"


def test_a_wrong_value_names_field_and_rule(tmp_path: Path) -> None:
    rows = [*ROWS[:2], ("gadget.name", "invoices.Total", "value ~ '!'")]
    with pytest.raises(PermanentError) as caught:
        shape_of(flow_of(tmp_path, rows))(Writer(GADGET_WITH_LINES).delivery("g1", 1, WHOLE))
    assert (caught.value.field, caught.value.rule) == ("Total", "value ~ '!'")


@given(st.integers(-(10**13), 10**13) | st.integers(-(10**38) + 2, 10**38 - 2))
def test_a_decimal_is_the_same_however_it_is_written(units: int) -> None:
    field = ApiField(kind="decimal")
    number = Decimal(f"{units}E-4")
    for written in (str(number), f"{number:f}0000", number.normalize(Context(prec=38)), f" {number} "):
        assert same(number, written, field)
    assert not same(number, Decimal(f"{units + 1}E-4"), field)


@pytest.mark.parametrize(
    ("rows", "target", "deletes", "says"),
    [
        ([("gadget.name", "invoices.Contact.Nam", "")], {}, "ignore", "is not a field of the resource"),
        ([*ROWS, ("gadget.note", "invoices.InvoiceID", "")], {}, "ignore", "set by the application itself"),
        (ROWS[1:], {}, "ignore", "nothing fills invoices.Contact.Name"),
        (ROWS, {}, "hard", "can't delete records"),
        (ROWS, {}, "soft", "nothing says how a deleted record looks"),
        (ROWS, {"marker": "Mark"}, "ignore", "has no field 'Mark'"),
        (ROWS, {"resource": "invoice"}, "ignore", "has no resource 'invoice'"),
        (ROWS, {"lists": {"lines": "line"}}, "ignore", "has no list 'line'"),
    ],
)
def test_a_plan_says_what_can_not_work(
    tmp_path: Path, rows: list[tuple[str, str, str]], target: dict[str, Any], deletes: str, says: str
) -> None:
    with pytest.raises(MapError) as caught:
        check_flow(flow_of(tmp_path, rows, deletes, **target))
    assert says in str(caught.value)
    assert all(found.fix for found in caught.value.findings)


@pytest.mark.parametrize(
    ("on_duplicate", "marker", "says"),
    [
        ("ask", "", "Contact.Name can't be read from invoices, so match: [name] can't find"),
        ("link", "", "Contact.Name can't be read from invoices, so match: [name] can't find"),
        ("create", "Contact.Name", "Contact.Name can't be read from invoices, so it marks nothing"),
        ("create", "", ""),
    ],
)
def test_nothing_is_found_by_what_cant_be_read(tmp_path: Path, on_duplicate: str, marker: str, says: str) -> None:
    flow = flow_of(tmp_path, marker=marker)
    described = json.loads((tmp_path / "books.yaml").read_text())
    described["resources"]["invoices"]["fields"]["Contact.Name"]["write_only"] = True
    (tmp_path / "books.yaml").write_text(json.dumps(described))
    said = flow.flow.model_copy(update={"on_duplicate": on_duplicate})
    flow = replace(flow, flow=said, data_type=DataType(match=["name"]))
    if not says:
        check_flow(flow)
        return
    with pytest.raises(MapError) as caught:
        check_flow(flow)
    assert says in str(caught.value)


@pytest.mark.parametrize(("on_duplicate", "is_refused"), [("ask", True), ("link", True), ("create", False)])
def test_a_flow_that_maps_nothing_to_match_by_is_refused(tmp_path: Path, on_duplicate: str, is_refused: bool) -> None:
    """It would make each record again that is there."""
    flow = flow_of(tmp_path, [row for row in ROWS if row[0] != "gadget.note"])
    said = flow.flow.model_copy(update={"on_duplicate": on_duplicate})
    flow = replace(flow, flow=said, data_type=DataType(match=["note"]))
    if not is_refused:
        check_flow(flow)
        return
    with pytest.raises(MapError, match=r"nothing of match: \[note\] is mapped to a field of invoices"):
        check_flow(flow)


def test_a_sound_flow_passes(tmp_path: Path) -> None:
    check_flow(flow_of(tmp_path, deletes="soft", deleted={"Type": "VOID"}))
