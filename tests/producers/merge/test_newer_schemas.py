"""A schema that changes while records wait: newer fields have their defaults, and no record stops the merge."""

from __future__ import annotations

import pytest

from sorbus.avro.decode import read_record
from sorbus.schema import AvroType, RecordSchema, parse_schema
from tests.producers.merge.two_systems import OPEN, SCHEMA, Proposals, proposals

__all__ = ["proposals"]

TAGS: AvroType = {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []}
SEGMENT: AvroType = {"name": "segment", "type": "string", "default": "none"}
NEEDED: AvroType = {"name": "segment", "type": "string"}


def with_field(field: AvroType) -> RecordSchema:
    fields = SCHEMA.json["fields"]
    assert isinstance(fields, list)
    return parse_schema({**SCHEMA.json, "fields": [*fields, field]})


@pytest.mark.parametrize(("field", "default"), [(TAGS, []), (SEGMENT, "none")], ids=["list", "text"])
@pytest.mark.parametrize("waits", ["on the topic", "unpublished", "merged"])
def test_a_field_that_is_newer_than_what_waits_has_its_default(
    proposals: Proposals, field: AvroType, default: object, waits: str
) -> None:
    proposals.show("crm", "1", name="a", email="c")
    if waits != "on the topic":
        proposals.merge(ends_before_kafka=waits == "unpublished")
    if waits == "merged":
        proposals.show("books", "1", name="a", email="c")
        proposals.show("books", "1", name="a", email="b")
    schema = with_field(field)
    proposals.says(schema=schema)
    (batch,) = proposals.merge()
    data = batch.changes[0].data
    assert data is not None
    assert read_record(schema, data)[0][schema.fields[-1].name] == default


def test_a_record_that_the_schema_has_no_room_for_is_a_dead_letter_and_stops_nothing(proposals: Proposals) -> None:
    proposals.show("crm", "1", name="a")
    proposals.merge()
    proposals.show("books", "1", name="a", email="b")
    schema = with_field(NEEDED)
    proposals.says(schema=schema, proposes={"crm": ["name", "email", "segment"], "books": ["name", "email"]})
    proposals.shows("crm", schema)
    proposals.show("crm", "2", name="a", segment="s")
    found = proposals.merge(until=2)
    assert [change.id for batch in found for change in batch.changes] == [b"2"]
    (letter,) = [reject for batch in found for reject in batch.rejects]
    assert (letter.id, letter.error.field) == (b"1", "segment")
    assert "sorbus backfill customer-proposals-crm --id 1" in str(letter.error)
    proposals.show("crm", "1", name="a", segment="s")
    proposals.merge()
    proposals.show("books", "1", name="a", email="b2")
    proposals.merge()
    assert proposals.records()["1"] == {"name": "a", "email": "b2", "segment": "s"}


def test_a_field_that_a_system_shows_for_the_first_time_fills_gaps_and_replaces_nothing(proposals: Proposals) -> None:
    """A row of the sheet was added, and the books' addresses are taken from then on."""
    names = OPEN.json["fields"]
    assert isinstance(names, list)
    proposals.shows("books", parse_schema({**OPEN.json, "fields": names[:1]}))
    for id, email in (("1", "c"), ("2", None)):
        proposals.show("crm", id, name="a", email=email)
    for change in proposals.merge()[0].changes:
        proposals.show("books", change.id, delivered=change.version, name="a")
    proposals.quiet()
    proposals.shows("books", OPEN)
    for id in ("1", "2"):
        proposals.show("books", id, name="a", email="old")
    proposals.quiet()
    assert {id: values["email"] for id, values in proposals.records().items()} == {"1": "c", "2": "old"}
    proposals.show("books", "1", name="a", email="new")
    proposals.quiet()
    assert proposals.records()["1"]["email"] == "new"
