"""A system, data type or resource that has another name in the map: its records are there already."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sorbus.connector import BoundFlow
from sorbus.errors import LostPosition, SorbusError
from sorbus.identity.crosswalk import Crosswalk
from sorbus.identity.left_links import LinkPlace, carry_links, forget_links
from sorbus.state.database import State, migrate
from tests.commands import type_command
from tests.consumers.http.house import House, contact, event
from tests.consumers.http.test_another_account import map_of
from tests.http_api.faulty import serving

Place = tuple[str, str, str]


@pytest.fixture
def state_dsn(new_database: Callable[[], str]) -> str:
    """A state without the links of other tests."""
    return new_database()


@pytest.fixture
def state(state_dsn: str) -> Iterator[State]:
    made = State(state_dsn)
    migrate(made)
    yield made
    made.close()


def flow_of(house: House, *places: Place) -> BoundFlow:
    """A flow without anything to match by, in a map with flows to these."""
    return replace(house.flow(match=()), places=frozenset(places))


def delivered(house: House, place: Place) -> None:
    house.deliver(house.opened(flow_of(house, place)), event("c1", 1, contact("Ada")))


RENAMED: dict[str, Callable[[Place], Place]] = {
    "system": lambda place: (f"{place[0]}old", *place[1:]),
    "data type": lambda place: (place[0], "person", place[2]),
    "resource": lambda place: (*place[:2], "people"),
}


@pytest.mark.parametrize("what", RENAMED)
def test_a_name_that_has_changed_makes_no_record_again(house: House, what: str) -> None:
    here = house.system, "contact", "contacts"
    delivered(house, here)
    old = LinkPlace(*RENAMED[what](here))
    assert carry_links(house.state, LinkPlace(*here), old) == 1  # as if it had been delivered by the old name
    with pytest.raises(LostPosition, match=f"1 links of {old}.*sorbus crosswalk renamed {old} {LinkPlace(*here)}"):
        house.opened(flow_of(house, here))
    house.opened(flow_of(house, here, old))  # another flow of the map has those
    house.opened(flow_of(house, here, (*old[:2], "")))  # one that doesn't run, too
    assert carry_links(house.state, old, LinkPlace(*here)) == 1
    house.deliver(house.opened(flow_of(house, here)), event("c1", 2, contact("Ada Lovelace")))
    assert list(house.there()) == ["Ada Lovelace"]
    assert house.faulty.count("POST") == 1


def test_what_is_something_else_is_forgotten_and_begins_without_links(house: House) -> None:
    here = LinkPlace(house.system, "contact", "contacts")
    Crosswalk(house.state, house.system, "contact", "people").link("c1", "77", 1, None)
    with pytest.raises(LostPosition):
        house.opened(flow_of(house, here))
    assert forget_links(house.state, here._replace(resource="people")) == 1
    delivered(house, here)
    assert list(house.there()) == ["Ada"]


def test_links_of_another_account_are_not_carried_to_a_new_name(house: House) -> None:
    here = LinkPlace(house.system, "contact", "contacts")
    delivered(house, here)
    with serving() as other:
        house.faulty, house.system = other, f"{house.system}new"
        new = here._replace(system=house.system)
        with pytest.raises(LostPosition):
            house.opened(flow_of(house, new))
        with pytest.raises(SorbusError, match="same ids may be other records"):
            carry_links(house.state, here, new)


def test_people_say_it_by_commands(house: House, state_dsn: str, tmp_path: Path) -> None:
    here = LinkPlace(house.system, "contact", "contacts")
    delivered(house, here)
    path = map_of(tmp_path, house.system, house.faulty)
    env = {**os.environ, "SORBUS_DATABASE": state_dsn}

    def typed(*words: str) -> str:
        return type_command("--map", str(path), "crosswalk", *words, "--yes", env=env).output

    new = here._replace(resource="people")
    assert "write SYSTEM:DATA_TYPE:RESOURCE" in typed("forget", house.system)
    assert f"1 links of {here} are of {new} now" in typed("renamed", str(here), str(new))
    assert f"1 links of {new} are forgotten" in typed("forget", str(new))
