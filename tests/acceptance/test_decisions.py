"""What people decide, through the whole line: doubles merged, a value kept, and the record goes on each time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sorbus.ops.embedded import Addresses
from tests.acceptance.office import Office, execute
from tests.http_api.faulty import Faulty

TEXT = ["null", "string"]
FIELDS: list[object] = [{"name": "name", "type": "string"}, {"name": "city", "type": TEXT, "default": None}]
TABLES = """
create table clients (id bigint primary key, name text not null, city text);
insert into clients values (1, 'Ada Lovelace', 'London'), (2, 'Grace Hopper', 'Arlington');
"""


@pytest.fixture
def office(
    stack: Addresses, make_database: Callable[[str], str], unique: str, tmp_path: Path, faulty: Faulty
) -> Office:
    """A CRM whose clients go to a support desk, which has one of them twice."""
    faulty.add_many([{"name": "Ada Lovelace"}, {"name": "Ada Lovelace", "tax_number": "GB1"}])
    env = {**stack.env(), "CRM_DSN": make_database(TABLES), "SORBUS_DATABASE": make_database("")}
    made = Office(tmp_path, unique, {**env, "DESK_KEY": faulty.api_key})
    connection = {"api": faulty.describe(tmp_path), "base_url": faulty.base_url, "api_key": "${DESK_KEY}"}
    made.write(
        {
            "systems": {
                "crm": {"kind": "postgres", "connection": {"dsn": "${CRM_DSN}"}},
                "desk": {"kind": "http", "connection": connection},
            },
            "data_types": {"client": {"system_of_record": "crm", "source": {"table": "clients"}, "match": ["name"]}},
            "flows": [{"data_type": "client", "to": "desk", "target": {"resource": "contacts"}, "on_conflict": "ask"}],
        },
        [
            ("crm", "clients.name", "canonical", "client.name", ""),
            ("crm", "clients.city", "canonical", "client.city", ""),
            ("canonical", "client.name", "desk", "contacts.name", ""),
            ("canonical", "client.city", "desk", "contacts.city", ""),
        ],
        {"client": FIELDS},
    )
    return made


def listed(office: Office, *words: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in office.sorbus(*words, "--json").splitlines()]


def test_doubles_are_merged_and_a_value_is_kept_until_its_owner_changes_it(faulty: Faulty, office: Office) -> None:
    crm = office.env["CRM_DSN"]
    office.sorbus("apply", "--yes")

    def cities() -> dict[str, object]:
        return {id: one["city"] for id, one in faulty.contacts().items()}

    with office.up():
        office.until(lambda: "" if listed(office, "duplicates", "list") else "nobody asks about Ada", seconds=90)
        (asked,) = listed(office, "duplicates", "list")
        office.sorbus("duplicates", "merge", str(asked["number"]), "1", "--with", "2", "--yes")
        office.until(lambda: "" if cities() == {"1": "London", "3": "Arlington"} else cities(), seconds=60)
        assert faulty.contacts()["1"]["tax_number"] == "GB1", "merging kept what only the double had"

        faulty.change("1", city="Turin")
        execute(crm, "update clients set city = 'Ockham' where id = 1")
        office.until(lambda: "" if listed(office, "conflicts", "list") else "nobody asks about the city", seconds=60)
        (conflict,) = listed(office, "conflicts", "list")
        assert (conflict["sent"], conflict["theirs"], conflict["ours"]) == ("London", "Turin", "Ockham")
        assert "became a dead letter" in office.sorbus("trace", "client", "1", status=1)
        office.sorbus("conflicts", "keep", str(conflict["number"]), "--yes")
        office.until(lambda: listed(office, "dlq", "list"), seconds=60)
        assert cities() == {"1": "Turin", "3": "Arlington"}
        execute(crm, "update clients set city = 'Marylebone' where id = 1")
        office.until(lambda: "" if cities()["1"] == "Marylebone" else cities(), seconds=60)
    told = office.sorbus("trace", "client", "1")
    for words in ("merge 1 (with 2)", "is 1 there", "city was changed by hand in 1", "up to date"):
        assert words in told
    assert listed(office, "dlq", "list") == []
