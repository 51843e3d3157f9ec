"""How an update empties a field."""

from __future__ import annotations

from sorbus.http_api.description import ApiResource, Operation
from sorbus.http_api.interface import Record
from sorbus.http_api.requests import emptied

RESOURCE = ApiResource.model_validate(
    {"fields": {"name": {}, "due": {"kind": "date"}, "address.city": {}, "phones": {"kind": "list"}}}
)


def update(by: str) -> Operation:
    return Operation.model_validate({"method": "POST", "path": "/contacts/{id}", "emptied_by": by})


def test_null_empties_a_field_where_nothing_else_is_said() -> None:
    fields: Record = {"name": None, "due": None, "address": {"city": None}}
    assert emptied(RESOURCE, update("null"), fields) == fields


def test_no_letters_empty_a_text_and_what_is_no_text_is_left_out() -> None:
    fields: Record = {"name": None, "due": None, "address": {"city": None}, "phones": [{"number": None, "type": "A"}]}
    assert emptied(RESOURCE, update("text"), fields) == {
        "name": "",
        "address": {"city": ""},
        "phones": [{"number": "", "type": "A"}],
    }
