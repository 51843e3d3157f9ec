"""What a poll takes from a description: formats of times, and what makes it read the whole list again."""

from __future__ import annotations

from typing import get_args

import pytest

from sorbus.connector import BoundSource
from sorbus.http_api.description import ApiResource, Moment
from sorbus.http_api.load import load_description, shipped
from sorbus.mapfile.model import DataType
from sorbus.producers.http.options import HttpSource
from sorbus.producers.http.poll_position import PollPosition
from sorbus.producers.http.rules import fingerprint, rules_of
from sorbus.producers.polling.poll_state import Copying, PollState
from sorbus.schema import parse_schema
from tests.http_api.short_lists import short_pages
from tests.producers.http.desk import CONTACT, Desk


def _resource(**changes: object) -> ApiResource:
    changed = {"path": "/x", "parameters": {"s": "{since}"}, "records": "x", **dict(changes.pop("changes", {}))}  # type: ignore[call-overload]
    listed = {"path": "/x", "records": "x"}
    written = {"updated": "changed", "list": listed, "changes": changed, "fields": {"city": {}}, **changes}
    return ApiResource.model_validate(written)


@pytest.mark.parametrize("since_format", get_args(Moment))
def test_every_format_of_since_can_be_polled(since_format: str) -> None:
    resource = _resource(changes={"since_format": since_format})
    assert rules_of(HttpSource(resource="x"), resource, "x of y").grain >= 1


@pytest.mark.parametrize("system", shipped())
def test_shipped_descriptions_can_be_polled(system: str) -> None:
    for name, resource in load_description(system).resources.items():
        assert rules_of(HttpSource(resource=name), resource, f"{name} of {system}").grain >= 1


@pytest.mark.parametrize("since_format", ["iso-offset", "iso-bare"])
def test_changes_since_a_moment_without_z_are_polled(desk: Desk, since_format: str) -> None:
    """As Zoho CRM and WooCommerce want them."""
    resources = short_pages()
    resources["contacts"]["changes"]["since_format"] = since_format
    desk.faulty.add(name="Anna")
    desk.poll("contacts", description={"resources": resources})
    tape = desk.tape("contact")
    with desk.producing():
        tape.wait_for(desk.there())


@pytest.mark.parametrize(
    "changes",
    [
        {"fields": {"city": {"empty": ["-"]}}},
        {"fields": {"city": {"kind": "integer"}}},
        {"deleted": {"status": "archived"}},
        {"updated": ["touched"]},
        {"updated_format": "epoch"},
        {"id": "number"},
        {"list": {"path": "/x", "records": "x", "parameters": {"active": "true"}}},
        {"changes": {"parameters": {"s": "{since}", "active": "true"}}},
    ],
    ids=str,
)
def test_what_decides_which_records_there_are_and_what_they_hold_is_part_of_the_mapping(
    changes: dict[str, object],
) -> None:
    """A list that was read with another description is read again."""
    schema = parse_schema({"type": "record", "name": "contact", "fields": CONTACT})
    source = BoundSource("contact", DataType(system_of_record="shop"), schema, (), HttpSource(resource="x"))
    assert fingerprint(source, _resource(**changes)) != fingerprint(source, _resource())
    assert fingerprint(source, _resource()) == fingerprint(source, _resource())


@pytest.mark.parametrize(
    ("query", "is_kept"),
    [
        ("page=2", True),
        ("pageToken=abc&limit=10", True),
        ("page=2&access_token=s3cret", False),
        ("apiKey=s3cret&page=2", False),
        ("page=2&X-Amz-Signature=s3cret", False),
    ],
)
def test_a_key_in_the_address_of_the_next_page_is_not_kept(query: str, is_kept: bool) -> None:
    """Facebook's Graph API and others repeat the caller's own token there."""
    after = f'["https://x.test/contacts?{query}", 10, "", 1, 0, ""]'
    made = PollPosition(PollState(copying=Copying(after, 5, 10)), 0, None, "", ()).to_json()
    assert (PollPosition.from_json(made).state.copying is not None) == is_kept
    assert "s3cret" not in str(made)
