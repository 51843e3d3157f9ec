"""Descriptions: the shipped ones are sound, a user's own may add to them, and what is wrong is said with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sorbus.errors import MapError
from sorbus.http_api.load import load_description, shipped

Write = Callable[[str], Path]

SOUND = """\
api: shop
title: Shop
base_url: https://{name}.shop.test/api
settings:
  name: {doc: your name there}
auth: {kind: bearer}
resources:
  orders:
    updated: changed
    list: {path: /orders, parameters: {fields: "{fields}"}, records: orders}
    changes: {path: /orders, parameters: {since: "{since}"}, records: orders}
    get: {path: "/orders/{id}"}
    create: {method: POST, path: /orders}
    search:
      number: {path: /orders, parameters: {number: "{value}"}}
    fields:
      number: {required: true}
      buyer.name: {}
      buyer.email: {}
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        file = tmp_path / "shop.yaml"
        file.write_text(text, "utf-8")
        return file

    return write


def test_the_guide_lists_what_comes_with_sorbus() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "http.md").read_text("utf-8")
    listed = guide.partition("$ sorbus api list\n")[2].partition("$ sorbus api show")[0]
    assert listed.split() == shipped()


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_description_says_where_it_comes_from_and_how_to_write(name: str) -> None:
    description = load_description(name)
    assert description.api == name
    assert description.docs.startswith("https://")
    assert description.version
    assert description.auth.doc
    for resource in description.resources.values():
        assert resource.list
        assert resource.get
        assert resource.create
        assert resource.fields[resource.id].read_only or resource.fields[resource.id].once
        assert resource.search, "without a search, nothing is matched before it is created"


def test_the_names_of_a_resources_fields_are_filled_in(write: Write) -> None:
    orders = load_description(str(write(SOUND))).resources["orders"]
    assert orders.list is not None
    assert orders.list.parameters == {"fields": "number,buyer"}
    contacts = load_description("hubspot").resources["contacts"]
    assert contacts.changes is not None
    assert isinstance(contacts.changes.body, dict)
    assert isinstance(asked := contacts.changes.body["properties"], list)
    assert {"email", "firstname"} < set(map(str, asked))
    assert "id" not in asked


def test_a_description_of_ones_own_adds_to_a_shipped_one(write: Write) -> None:
    file = write(
        "extends: hubspot\nresources:\n  contacts:\n    marker: properties.our_id\n"
        "    search: {properties.our_id: {path: /x, parameters: {q: '{value}'}}}\n"
        "    fields: {properties.our_id: {largest: 40}}\n"
    )
    own, theirs = load_description(str(file)), load_description("hubspot")
    assert own.resources["companies"] == theirs.resources["companies"]
    contacts = own.resources["contacts"]
    assert contacts.marker == "properties.our_id"
    assert set(contacts.fields) == {*theirs.resources["contacts"].fields, "properties.our_id"}
    assert contacts.get is not None
    assert contacts.get.parameters["properties"].endswith(",our_id")


@pytest.mark.parametrize("beginning", ["# yaml-language-server", "extends: hubspot"])
def test_the_descriptions_in_the_guide_are_sound(write: Write, beginning: str) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "http.md").read_text("utf-8")
    blocks = [block.partition("```")[0] for block in guide.split("```yaml\n")[1:]]
    [text] = [block for block in blocks if block.startswith(beginning)]
    assert load_description(str(write(text))).resources


@pytest.mark.parametrize(
    ("written", "instead", "line", "says"),
    [
        ("title: Shop", "titel: Shop", 1, "the description has no title"),
        ("get: {path", "gett: {path", 12, "did you mean get?"),
        ("{kind: bearer}", "{kind: bear}", 6, "auth.kind can't be that"),
        ("{kind: bearer}", "{kind: oauth2}", 6, "where tokens come from"),
        ("{name}.shop", "{nam}.shop", 3, "did you mean name?"),
        ('since: "{since}"', "since: now", 11, "since when"),
        ('"/orders/{id}"', "/orders/1", 12, "name the record"),
        ("      number: {path", "      nummer: {path", 15, "did you mean number?"),
        ("buyer.name", '"buyer[.name"', 18, "is not a valid path"),
        ("updated: changed\n", "marker: number2\n", 9, "no search finds them by it"),
        (
            "records: orders}\n    changes",
            "records: orders, pagination: {style: cursor}}\n    changes",
            10,
            "add token:",
        ),
        ("auth:", "hook: nothing\nauth:", 6, "write MODULE:CLASS"),
        ("api: shop", "extends: shoop", 1, "no description is called 'shoop'"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(write: Write, written: str, instead: str, line: int, says: str) -> None:
    assert written in SOUND
    with pytest.raises(MapError) as caught:
        load_description(str(write(SOUND.replace(written, instead))))
    assert any(found.line == line and says in str(found) for found in caught.value.findings), str(caught.value)


def test_a_description_that_is_not_there_is_told_from_one_of_a_near_name(tmp_path: Path) -> None:
    with pytest.raises(MapError, match="did you mean xero"):
        load_description("xerro", tmp_path)
    with pytest.raises(MapError, match=r"there is no file .*apis/mine\.yaml"):
        load_description("apis/mine.yaml", tmp_path)


def test_a_field_in_braces_is_no_placeholder(write: Write) -> None:
    wrong = SOUND.replace(
        "create: {method: POST, path: /orders}", 'create: {method: POST, path: /orders, body: {n: "{buyer.name}"}}'
    )
    with pytest.raises(MapError, match=r"\{buyer.name\} would be sent as it is written"):
        load_description(str(write(wrong)))
    formula = SOUND.replace('number: "{value}"', "filter: \"{Number}='{value}'\"")
    assert load_description(str(write(formula))).resources


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        (
            "number: {required: true}",
            "number: {write_only: true, read_only: true}",
            "number is read_only and write_only",
        ),
        ("buyer.email: {}", "changed: {write_only: true}", "changed is write_only, so no record shows it"),
    ],
)
def test_what_has_to_be_read_is_not_write_only(write: Write, was: str, now: str, says: str) -> None:
    assert was in SOUND, SOUND
    with pytest.raises(MapError, match=says):
        load_description(str(write(SOUND.replace(was, now))))
