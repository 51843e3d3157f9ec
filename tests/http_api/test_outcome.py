"""A write that is answered with 200 and wasn't carried out."""

from __future__ import annotations

import pytest

from sorbus.http_api.outcome import reports_failure

FAILED: list[object] = [
    {"success": False},
    {"success": False, "id": 7},
    {"Success": "false", "message": "no"},
    {"success": 0},
    {"ok": False, "error": "not_authed"},
    {"isSuccess": False},
    {"status": "error", "message": "no"},
    {"status": "FAIL", "data": {"title": "is required"}},
    {"result": "failed"},
    {"errors": ["no"]},
    {"errors": {"email": ["is taken"]}, "contact": {"id": 7}},
    {"error": {"code": -32000, "message": "no"}, "id": 1, "jsonrpc": "2.0"},
    {"data": None, "errors": [{"message": "no"}]},
    {"data": {"customerCreate": {"customer": None, "userErrors": [{"message": "is taken"}]}}},
]
CARRIED_OUT: list[object] = [
    None,
    [],
    "ok",
    {},
    {"success": True, "errors": []},
    {"ok": True, "error": None},
    {"error": False, "status": "OK"},
    {"error": 0, "errors": {}},
    {"status": "active", "id": 7},
    {"status": 200, "result": {"id": 7}},
    {"contact": {"status": "error", "success": False, "errors": ["of its own"]}},
    {"data": {"customerCreate": {"customer": {"id": 7}, "userErrors": []}}, "errors": None},
]


@pytest.mark.parametrize("body", FAILED)
def test_a_failure_is_seen(body: object) -> None:
    assert reports_failure(body)


@pytest.mark.parametrize("body", CARRIED_OUT)
def test_what_was_carried_out_stays_so(body: object) -> None:
    assert not reports_failure(body)


def test_the_records_own_fields_say_nothing_of_the_request() -> None:
    assert not reports_failure({"id": 7, "status": "error", "errors": ["a"]}, {"status", "errors"})
    assert reports_failure({"id": 7, "status": "error", "errors": ["a"]}, {"status"})
