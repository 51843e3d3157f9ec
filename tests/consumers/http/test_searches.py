"""Vendors' searches compare in ways of their own: no record that is there is made twice, however it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from unicodedata import normalize

import pytest
from ruamel.yaml import YAML

from tests.consumers.http.house import House, contact, event
from tests.http_api.faulty import DESCRIPTION

Finds = Callable[[str, str], bool]
HOW: Mapping[str, Finds] = {
    "as written": lambda there, asked: there == asked,
    "case ignored": lambda there, asked: there.casefold() == asked.casefold(),
    "beginnings, as written": str.startswith,
    "parts, as written": lambda there, asked: asked in there,
    "words, as written": lambda there, asked: set(asked.split()) <= set(there.split()),
    "trimmed": lambda there, asked: there.strip() == asked.strip(),
    "lower case of what is asked": lambda there, asked: there == asked.lower(),
    "upper case of what is asked": lambda there, asked: there == asked.upper(),
    "nothing": lambda _there, _asked: False,
}
WRITTEN: Sequence[tuple[str, str, str]] = [
    ("email", "B+x@Example.COM", "b+x@example.com"),
    ("email", "b+x@example.com", "B+X@EXAMPLE.COM"),
    ("email", "B+x@Example.com", "b+X@eXample.com"),
    ("email", " b+x@example.com ", "b+x@example.com"),
    ("tax_number", "DE 123.456.789", "DE123456789"),
    ("tax_number", "de123456789", "DE123456789"),
    ("name", normalize("NFD", "Zoë Brontë"), normalize("NFC", "zoë BRONTË")),
]


def described(**resource: object) -> dict[str, object]:
    """The description's contacts, changed."""
    written = YAML(typ="safe").load(DESCRIPTION)["resources"]
    return {"contacts": {**written["contacts"], **resource}}


def made(house: House) -> int:
    return sum(one.did == "create" and one.by != "hand" for one in house.faulty.writes)


@pytest.mark.parametrize("how", [name for name in HOW if name != "nothing"])
def test_what_is_there_in_another_spelling_is_not_made_again(house: House, how: str) -> None:
    """Each way of searching with each pair of spellings, one consumer a pair: as many records as before."""
    house.faulty.finds = HOW[how]
    for field, there, ours in WRITTEN:
        named = {"name": "Bo", "email": None, "tax_number": None}
        house.faulty.add(name="Someone Else", email="someone.else@example.test", tax_number="FR 99")
        id = house.faulty.add(**{**named, field: there})
        consumer = house.opened(match=(field,), target={"marker": ""}, on_duplicate="link")
        key = f"{field} {there}"
        done = house.deliver(consumer, event(key, 1, contact(**{**named, field: ours})))  # type: ignore[arg-type]
        assert made(house) == 0, f"{ours!r} was made beside {there!r}: {done}"
        assert house.linked(key) == id
        house.faulty.remove(id)
        consumer.close()


@pytest.mark.parametrize("how", ["as written", "parts, as written"])
def test_a_record_that_is_not_there_is_made(house: House, how: str) -> None:
    house.faulty.finds = HOW[how]
    house.faulty.add(name="Ann", email="ann@example.test")
    assert house.deliver(house.opened(target={"marker": ""}), event("c1", 1, contact("Bo"))).refused == {}
    assert made(house) == 1


def test_a_search_that_ignores_case_reads_one_page_of_the_list_once(house: House) -> None:
    house.faulty.add_many([{"name": f"P {n}", "email": f"p{n}@example.test"} for n in range(150)])
    consumer = house.opened(target={"marker": ""})
    house.deliver(consumer, *[event(f"c{n}", 1, contact(f"Q {n}")) for n in range(20)])
    assert made(house) == 20
    assert sum(one.path == "/contacts" and one.method == "GET" for one in house.faulty.asked) == 1


@pytest.mark.parametrize("shows", [2, 5])
@pytest.mark.parametrize("paged", [False, True])
def test_a_search_that_shows_only_some_proves_nothing(house: House, shows: int, paged: bool) -> None:
    """It finds whatever holds the value, and ours is behind what it shows: its next pages are read, or the list."""
    house.faulty.contains, house.faulty.most_found = True, shows
    for number in range(7):
        house.faulty.add(name=f"X {number}", email=f"{number}b@example.test")
    id = house.faulty.add(name="Bo", email="B@example.test")
    search: dict[str, object] = {
        "path": "/contacts/search",
        "parameters": {"field": "email", "value": "{value}"},
        "records": "contacts",
        "exact": False,
    }
    if paged:
        search["pagination"] = {"style": "page", "parameter": "page", "size": shows, "total": "total"}
    resources = described(search={"email": search}, marker="", **({"list": None, "changes": None} if paged else {}))
    consumer = house.opened(match=("email",), target={"marker": ""}, on_duplicate="link", resources=resources)
    house.deliver(consumer, event("c1", 1, contact("Bo", email="b@example.test")))
    assert (made(house), house.linked("c1")) == (0, id)


@pytest.mark.parametrize(("there", "result"), [("BO@EXAMPLE.TEST", "linked"), ("Bo@Example.Test", "unmatched")])
def test_without_a_list_each_case_is_asked_for_and_the_rest_is_for_a_person(
    house: House, there: str, result: str
) -> None:
    house.faulty.finds = HOW["as written"]
    resources = described(list=None, changes=None, marker="")
    consumer = house.opened(match=("email",), on_duplicate="link", resources=resources)
    assert house.deliver(consumer, event("c1", 1, contact("Ann"))).refused == {}  # the first: nothing to try it with
    consumer.close()
    consumer = house.opened(match=("email",), on_duplicate="link", resources=resources)
    id = house.faulty.add(name="Robert", email=there)
    done = house.deliver(consumer, event("c2", 1, contact("Bo", email="bo@example.test")))
    assert made(house) == 1
    if result == "linked":
        assert house.linked("c2") == id
    else:
        assert done.reasons == {0: "unmatched"}
        assert "heeds how it is written" in str(done.refused[0])
