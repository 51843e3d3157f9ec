"""A system of the map whose address is another one: the ids of its links may be other records there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sorbus.errors import LostPosition
from tests.commands import type_command
from tests.consumers.http.house import House, contact, event
from tests.http_api.faulty import Faulty, serving


def test_links_of_a_sandbox_overwrite_no_record_of_the_production_account(house: House) -> None:
    house.deliver(house.opened(match=()), event("c1", 1, contact("Ada")))
    sandbox = house.faulty
    with serving() as production:
        strangers = [production.add(name=f"Stranger {n}", email=f"s{n}@example.test") for n in range(3)]
        assert house.linked("c1") in strangers
        house.faulty = production
        with pytest.raises(LostPosition, match=f"sorbus crosswalk moved {house.system}"):
            house.opened(match=())
        assert production.asked == []
    house.faulty = sandbox
    house.deliver(house.opened(match=()), event("c1", 2, contact("Ada Lovelace")))
    assert list(house.there()) == ["Ada Lovelace"]


def test_an_application_that_has_moved_keeps_its_links_once_a_person_says_so(
    house: House, state_dsn: str, tmp_path: Path
) -> None:
    house.deliver(house.opened(match=()), event("c1", 1, contact("Ada")))
    with serving() as moved:
        assert moved.add(name="Ada", our_id="c1", email="ada@example.test") == house.linked("c1")
        house.faulty = moved
        flow = house.flow(match=())
        with pytest.raises(LostPosition):
            house.opened(flow)
        done = type_command(
            "--map", str(map_of(tmp_path, house.system, moved)), "crosswalk", "moved", house.system, "--yes",
            env={**os.environ, "SORBUS_DATABASE": state_dsn},
        )  # fmt: skip
        assert done.stdout == f"1 links of {house.system} are of {moved.base_url} now\n", done.output
        house.deliver(house.opened(flow), event("c1", 2, contact("Ada Lovelace", email="ada@example.test")))
        assert list(house.there()) == ["Ada Lovelace"]


def test_an_account_without_links_may_be_another(house: House) -> None:
    house.opened(match=())
    with serving() as other:
        house.faulty = other
        house.deliver(house.opened(match=()), event("c1", 1, contact("Ada")))
        assert list(house.there()) == ["Ada"]


def map_of(folder: Path, system: str, faulty: Faulty) -> Path:
    """A map with the application alone."""
    api = faulty.describe(folder)
    connection = {"api": api, "base_url": faulty.base_url, "api_key": faulty.api_key}
    written = {
        "systems": {system: {"kind": "http", "connection": connection, "owner": "Sales"}},
        "data_types": {"contact": {"system_of_record": system}},
    }
    path = folder / "map.yaml"
    path.write_text(json.dumps(written))
    return path
