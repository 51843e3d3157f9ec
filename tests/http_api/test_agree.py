"""A description compared with the vendor's OpenAPI file: every difference is named with its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sorbus.errors import MapError
from sorbus.http_api.load import read_description
from sorbus.http_api.openapi import Spec, read_spec
from sorbus.http_api.openapi_diff import Comparison, compare

Compare = Callable[[str, str], Comparison]

XERO = Path(__file__).parents[3] / "shared" / "specs" / "xero" / "xero_accounting.yaml"
STRIPE = "github.com/stripe/stripe-mock@*/embedded/openapi/spec3.json"

SHOP = """\
api: shop
title: Shop
base_url: https://shop.test/api
resources:
  orders:
    updated: changed
    list:
      path: /orders
      parameters: {state: all}
      records: orders
      pagination: {style: page, parameter: page, total: count}
    get: {path: "/orders/{id}"}
    create: {method: POST, path: /orders, fields_at: order, body: {source: bus}}
    update: {method: PATCH, path: "/orders/{id}", fields_at: order}
    fields:
      id: {read_only: true}
      number: {required: true, largest: 20}
      state: {values: [open, closed]}
      total: {kind: decimal}
      "phones[kind=MOBILE].number": {}
      buyer.id: {kind: integer, sent_as: buyer_id}
      changed: {kind: datetime, read_only: true}
"""

ORDER: dict[str, Any] = {
    "type": "object",
    "required": ["number"],
    "properties": {
        "id": {"type": "string", "readOnly": True},
        "number": {"type": "string", "maxLength": 20},
        "state": {"$ref": "#/components/schemas/State"},
        "total": {"type": ["number", "null"]},
        "phones": {"type": "array", "items": {"$ref": "#/components/schemas/Phone"}},
        "buyer": {"allOf": [{"type": "object", "properties": {"id": {"type": "integer"}}}]},
        "buyer_id": {"type": "integer"},
        "changed": {"type": "string", "format": "date-time", "readOnly": True},
        "attributes": {"type": "object", "properties": {"vat": {"type": "string"}}},
    },
}


def _json(schema: object) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _spec() -> dict[str, Any]:
    order = {"$ref": "#/components/schemas/Order"}
    sent = {"type": "object", "properties": {"order": order, "source": {"type": "string", "enum": ["bus", "shop"]}}}
    states = {"name": "state", "in": "query", "schema": {"type": "string", "enum": ["all", "open"]}}
    return {
        "openapi": "3.1.0",
        "servers": [{"url": "https://{shop}.test/api/"}],
        "paths": {
            "/orders": {
                "parameters": [states],
                "get": {
                    "parameters": [{"name": "page", "in": "query", "schema": {"type": "integer"}}],
                    "responses": {
                        "200": _json(
                            {"properties": {"orders": {"type": "array", "items": order}, "count": {"type": "integer"}}}
                        )
                    },
                },
                "post": {"requestBody": _json(sent), "responses": {"201": _json(order)}},
            },
            "/orders/{order_id}": {
                "get": {"responses": {"200": _json(order)}},
                "patch": {"requestBody": _json(sent), "responses": {"200": _json(order)}},
            },
        },
        "components": {
            "schemas": {
                "Order": ORDER,
                "State": {"type": "string", "enum": ["open", "closed"]},
                "Phone": {"properties": {"kind": {"enum": ["MOBILE", "HOME"]}, "number": {"type": "string"}}},
            }
        },
    }


@pytest.fixture
def against(tmp_path: Path) -> Compare:
    """Compares SHOP, with one text in the place of another, with the file above."""

    def against(written: str = "", instead: str = "") -> Comparison:
        assert written in SHOP
        (tmp_path / "shop.yaml").write_text(SHOP.replace(written, instead) if written else SHOP, "utf-8")
        (tmp_path / "openapi.json").write_text(json.dumps(_spec()), "utf-8")
        return compare(*read_description("shop.yaml", tmp_path), read_spec(tmp_path / "openapi.json"))

    return against


def test_a_description_that_agrees_has_no_findings(against: Compare) -> None:
    made = against("", "")
    assert made.findings == []
    assert (made.requests, made.fields) == (4, 7)


@pytest.mark.parametrize(
    ("written", "instead", "line", "says"),
    [
        ('get: {path: "/orders/', 'get: {path: "/order/', 12, "no path /order/{id}; did you mean /orders"),
        ("method: PATCH", "method: PUT", 14, "/orders/{order_id} has no PUT; it has GET, PATCH"),
        ("{state: all}", "{stat: all}", 9, "has no parameter stat; did you mean state?"),
        ("{state: all}", "{state: every}", 9, "can't be 'every'; it may be all, open"),
        ("total: {kind: decimal}", "vat: {}", 19, "it answers attributes.vat: write attributes.vat: {sent_as: vat}"),
        ("parameter: page", "parameter: side", 11, "has no parameter side"),
        ("total: count", "total: sum", 11, "has no sum"),
        ("records: orders", "records: order", 7, "has no order[0]; its answer holds orders, count"),
        ("body: {source: bus}", "body: {origin: bus}", 13, "has no origin"),
        ("body: {source: bus}", "body: {source: us}", 13, "can't be 'us'; it may be bus, shop"),
        ("fields_at: order, body", "fields_at: bill, body", 13, "has no bill"),
        ("updated: changed", "updated: altered", 6, "answers no altered"),
        ("number: {required: true, largest: 20}", "number: {largest: 20}", 17, "needs number, but no field"),
        ("number: {required: true, largest: 20}", "number: {required: true}", 17, "write largest: 20"),
        ("[open, closed]", "[open, shut]", 18, "state can't be shut"),
        ("{kind: decimal}", "{kind: boolean}", 19, "is boolean here, and"),
        ("kind=MOBILE", "kind=CELL", 20, "no phones[kind=CELL].number"),
        ("sent_as: buyer_id", "sent_as: buyer_no", 21, "takes no buyer_no"),
        ("id: {read_only: true}", "id: {}", 16, "id can't be written; write read_only: true"),
        ("      changed: {kind", "      shipped: {}\n      changed: {kind", 22, "no shipped"),
    ],
)
def test_a_difference_is_named_with_its_line(
    against: Compare, written: str, instead: str, line: int, says: str
) -> None:
    findings = against(written, instead).findings
    shown = [(found.line, f"{found.message}; {found.fix}") for found in findings]
    assert any(at == line and says in text for at, text in shown), shown


def test_an_endless_schema_is_walked_only_as_far_as_a_path_leads() -> None:
    spec = Spec(
        {"paths": {}, "x": {"properties": {"self": {"$ref": "#/x"}, "loop": {"$ref": "#/y"}}}, "y": {"$ref": "#/y"}}
    )
    assert spec.at({"$ref": "#/x"}, "self.self.self") is not None
    assert spec.at({"$ref": "#/x"}, "self.other") is None
    assert spec.at({"$ref": "#/x"}, "loop.anything") == {}


def test_a_swagger_2_file_is_read_too(tmp_path: Path) -> None:
    order = {"type": "object", "properties": {"id": {"type": "string"}, "number": {"type": "string"}}}
    answer = {"responses": {"200": {"description": "", "schema": {"$ref": "#/definitions/Order"}}}}
    sent = {"parameters": [{"in": "body", "name": "order", "schema": {"$ref": "#/definitions/Order"}}]}
    data = {
        "swagger": "2.0",
        "basePath": "/api",
        "paths": {"/orders": {"post": {**sent, **answer}}, "/orders/{id}": {"get": answer}},
        "definitions": {"Order": order},
    }
    (tmp_path / "swagger.json").write_text(json.dumps(data), "utf-8")
    (tmp_path / "shop.yaml").write_text(
        "api: shop\ntitle: Shop\nbase_url: https://shop.test/api\nresources:\n  orders:\n"
        '    get: {path: "/orders/{id}"}\n    create: {method: POST, path: /orders}\n'
        "    fields: {id: {read_only: true}, number: {}, nummer: {}}\n",
        "utf-8",
    )
    made = compare(*read_description("shop.yaml", tmp_path), read_spec(tmp_path / "swagger.json"))
    assert [found.message for found in made.findings] == ["/orders/{id} answers no nummer"]


@pytest.mark.parametrize("text", ["", "[1]", '{"paths": 1}', "{", "a: [", "\x00"])
def test_what_is_no_openapi_file_is_a_finding(tmp_path: Path, text: str) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(text, "utf-8")
    with pytest.raises(MapError):
        read_spec(file)


@cache
def _xero() -> Spec:
    if not XERO.is_file():
        pytest.skip(f"Xero's OpenAPI file is not at {XERO}")
    return read_spec(XERO)


def test_the_xero_description_agrees_with_xeros_own_file() -> None:
    made = compare(*read_description("xero"), _xero())
    assert "\n".join(map(str, made.findings)) == ""
    assert (made.requests, made.fields) > (30, 90)


@pytest.mark.real
def test_the_stripe_description_agrees_with_stripes_own_file() -> None:
    found = sorted((Path.home() / "go" / "pkg" / "mod").glob(STRIPE))
    if not found:
        pytest.skip("Stripe's OpenAPI file comes with stripe-mock: run ../shared/real/stripe-mock.sh")
    made = compare(*read_description("stripe"), read_spec(found[-1]))
    assert "\n".join(map(str, made.findings)) == ""
    assert (made.requests, made.fields) > (20, 50)
