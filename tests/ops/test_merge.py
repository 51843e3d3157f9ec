"""`sorbus duplicates merge`: one survives and is linked, the others go as a person chose, or stay as a task."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sorbus.identity.candidates import Candidates, Decision
from sorbus.identity.crosswalk import Crosswalk
from sorbus.identity.match import Candidate, Matcher
from sorbus.identity.merged import MergedRecords
from sorbus.map.load import load_map
from sorbus.mapfile.model import DataType
from sorbus.ops.duplicates.merge import RecordMerger
from sorbus.ops.embedded import Addresses
from sorbus.schema import parse_schema
from sorbus.settings import Settings
from sorbus.state.database import State, migrate
from tests.acceptance.office import Office
from tests.http_api.faulty import Faulty
from tests.ops.conftest import Sorbus

FIELDS = [{"name": "name", "type": "string"}]
CLIENT = parse_schema(json.dumps({"type": "record", "name": "client", "fields": FIELDS}))
MATCHER = Matcher(DataType(match=["name"]), CLIENT)
OURS = {"name": "Ada Lovelace"}


@pytest.fixture
def office(stack: Addresses, make_database: Callable[[], str], unique: str, tmp_path: Path, faulty: Faulty) -> Office:
    """A CRM whose clients go to the faulty application."""
    made = Office(tmp_path, unique, {**stack.env(), "CRM_DSN": make_database(), "SORBUS_DATABASE": make_database()})
    connection = {"api": faulty.describe(tmp_path), "base_url": faulty.base_url, "api_key": faulty.api_key}
    made.write(
        {
            "systems": {
                "crm": {"kind": "postgres", "connection": {"dsn": "${CRM_DSN}"}},
                "desk": {"kind": "http", "connection": connection},
            },
            "data_types": {"client": {"system_of_record": "crm", "source": {"table": "clients"}, "match": ["name"]}},
            "flows": [{"data_type": "client", "to": "desk", "target": {"resource": "contacts"}}],
        },
        [("canonical", "client.name", "desk", "contacts.name", "")],
        {"client": FIELDS},
    )
    return made


@pytest.fixture
def state(office: Office) -> Iterator[State]:
    made = State(office.env["SORBUS_DATABASE"], f"{office.prefix}.")
    migrate(made)
    yield made
    made.close()


@pytest.fixture
def number(state: State, faulty: Faulty) -> int:
    """Client 7 may be 1, 2 or 3 in the application."""
    ids = faulty.add_many([{"name": "Ada Lovelace"}, {"name": "Ada Lovelace", "city": "Oslo"}, {"name": "A Lovelace"}])
    there = [Candidate(id, OURS) for id in ids]
    verdict = MATCHER.judge(OURS, there)
    return Candidates(state, "desk", "client", "contacts").put("7", 1, verdict, MATCHER, OURS, there)


@pytest.fixture
def typed(office: Office, sorbus: Sorbus, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.chdir(office.folder)
    env = {name: text for name, text in office.env.items() if name.startswith(("SORBUS_", "CRM_"))}

    def run(*words: str, status: int = 0) -> str:
        done = sorbus("duplicates", *words, **env)
        assert done.exit_code == status, f"{words} ended with {done.exit_code}:\n{done.output}\n{done.exception!r}"
        return done.stdout if status == 0 else done.output

    return run


Typed = Callable[..., str]


def test_the_application_merges_and_the_survivor_is_linked(
    state: State, faulty: Faulty, number: int, typed: Typed
) -> None:
    words = ("merge", str(number), "1", "--with", "2", "--reason", "same", "--by", "Sales", "--yes", "--json")
    (done,) = map(json.loads, typed(*words).splitlines())
    assert (done["external_id"], done["survivor"], done["way"], done["state"]) == ("2", "1", "merge", "done")
    assert {id: one["city"] for id, one in faulty.contacts().items()} == {"1": "Oslo", "3": None}
    assert Candidates(state, "desk", "client", "contacts").decision_for(["7"]) == {"7": Decision("link", "1")}
    assert "Sales: merge 1 (with 2: same)" in typed("show", str(number))
    assert "Nothing left to merge" in typed("merges")


def test_a_survivor_that_gets_a_new_id_is_followed(state: State, faulty: Faulty, number: int, typed: Typed) -> None:
    faulty.renumbers = True
    crosswalk = Crosswalk(state, "desk", "client", "contacts")
    typed("merge", str(number), "1", "--with", "2", "--with", "3", "--yes")
    (left,) = faulty.contacts()
    assert Candidates(state, "desk", "client", "contacts").decision_for(["7"]) == {"7": Decision("link", left)}
    known = {
        one["external_id"]: one["survivor"] for one in map(json.loads, typed("merges", "--all", "--json").splitlines())
    }
    assert known.pop("1") in known.values()
    assert known["2"] == known["3"] == left
    assert crosswalk.find(["7"]) == {}, "linked when it is delivered"


def test_nothing_is_deleted_unless_a_person_says_so(state: State, faulty: Faulty, number: int, typed: Typed) -> None:
    typed("merge", str(number), "1", "--with", "2", "--retire", "person", "--yes")
    assert set(faulty.contacts()) == {"1", "2", "3"}
    assert f"{number}: merge 2 into 1 in desk, or archive it there; then say done" in typed("merges")
    assert "is merged into 1" in typed("done", str(number), "2")
    assert "Nothing left to merge" in typed("merges")
    typed("merge", str(number), "1", "--with", "3", "--retire", "delete", "--yes")
    assert set(faulty.contacts()) == {"1", "2"}
    assert faulty.count("DELETE") == 1


def test_what_fails_stays_due_and_is_tried_again(state: State, faulty: Faulty, number: int, typed: Typed) -> None:
    for _ in range(20):
        faulty.script("POST", "/contacts/2/merge", "500")
    told = typed("merge", str(number), "1", "--with", "2", "--yes", status=1)
    assert "2 is still to be merged into 1 in desk" in told
    assert Candidates(state, "desk", "client", "contacts").decision_for(["7"]) == {"7": Decision("link", "1")}, (
        "decided all the same"
    )
    faulty._scripted.clear()
    assert "2 is merged into 1 in desk" in typed("retry", str(number))
    assert set(faulty.contacts()) == {"1", "3"}


@pytest.mark.parametrize(
    ("anew", "stay", "no_candidates"),
    [
        (("link", "2"), {"1", "2", "3"}, set()),
        (("create",), {"1", "2", "3"}, set()),
        (("merge", "1", "--with", "2", "--retire", "person"), {"1", "2", "3"}, {"2"}),
        (("merge", "2", "--with", "1", "--retire", "delete"), {"2", "3"}, {"1"}),
    ],
)
def test_a_merge_that_is_taken_back_takes_nothing_away(
    state: State,
    faulty: Faulty,
    office: Office,
    number: int,
    typed: Typed,
    monkeypatch: pytest.MonkeyPatch,
    anew: tuple[str, ...],
    stay: set[str],
    no_candidates: set[str],
) -> None:
    faulty.script("DELETE", "/contacts/2", *["503"] * 20)
    typed("merge", str(number), "1", "--with", "2", "--retire", "delete", "--yes", status=1)
    (left,) = MergedRecords(state).due()
    faulty._scripted.clear()
    typed(anew[0], str(number), *anew[1:], "--yes")
    typed("retry", str(number))
    for name, text in office.env.items():
        monkeypatch.setenv(name, text)
    RecordMerger(load_map(office.folder / "map.yaml"), Settings(), state).carry_out([left])
    assert set(faulty.contacts()) == stay, "nor does who has read before what was due"
    assert Candidates(state, "desk", "client", "contacts").excluded("8", ["1", "2"]) == no_candidates


def test_what_another_decision_has_chosen_is_left_alone(
    state: State, faulty: Faulty, number: int, typed: Typed
) -> None:
    there = [Candidate(id, OURS) for id in ("1", "2")]
    candidates = Candidates(state, "desk", "client", "contacts")
    other = candidates.put("8", 1, MATCHER.judge(OURS, there), MATCHER, OURS, there)
    faulty.script("DELETE", "/contacts/2", *["503"] * 20)
    typed("merge", str(number), "1", "--with", "2", "--retire", "delete", "--yes", status=1)
    faulty._scripted.clear()
    typed("link", str(other), "2", "--yes")
    assert "2 is client 8 by now, and is left alone" in typed("retry", str(number), status=1)
    again = ("merge", str(number), "1", "--with", "2", "--retire", "delete", "--yes")
    assert "2 in desk is client 8 already" in typed(*again, status=1)
    assert set(faulty.contacts()) == {"1", "2", "3"}
    assert faulty.count("DELETE", status=204) == 0


@pytest.mark.parametrize("chosen", [("link", "2"), ("merge", "2", "--with", "3", "--retire", "person")])
def test_nobody_is_told_to_merge_what_another_decision_has_chosen(
    state: State, number: int, typed: Typed, chosen: tuple[str, ...]
) -> None:
    typed("merge", str(number), "1", "--with", "2", "--retire", "person", "--yes")
    there = [Candidate(id, OURS) for id in ("2", "3")]
    candidates = Candidates(state, "desk", "client", "contacts")
    other = candidates.put("8", 1, MATCHER.judge(OURS, there), MATCHER, OURS, there)
    typed(chosen[0], str(other), *chosen[1:], "--yes")
    told = typed("merges")
    assert "merge 2 into 1 in desk" not in told
    assert "2 was to be merged into 1 in desk by hand: 2 is client 8 by now, and is left alone" in told
    typed("create", str(other), "--yes")
    assert "merge 2 into 1 in desk, or archive it there" in typed("merges")


def test_nothing_goes_while_the_question_is_open_again(state: State, faulty: Faulty, number: int, typed: Typed) -> None:
    faulty.script("DELETE", "/contacts/2", *["503"] * 20)
    typed("merge", str(number), "1", "--with", "2", "--retire", "delete", "--yes", status=1)
    faulty._scripted.clear()
    there = [Candidate("1", OURS), Candidate("3", OURS)]
    Candidates(state, "desk", "client", "contacts").put("7", 1, MATCHER.judge(OURS, there), MATCHER, OURS, there)
    assert "2 is left alone until there is a new decision" in typed("retry", str(number), status=1)
    assert set(faulty.contacts()) == {"1", "2", "3"}


@pytest.fixture
def vendors(office: Office) -> None:
    """Vendors go into the same contacts as clients, and goods elsewhere."""
    file = office.folder / "map.yaml"
    document = json.loads(file.read_text())
    for data_type, resource in (("vendor", "contacts"), ("good", "by_offset")):
        document["data_types"][data_type] = {"schema": "client", "system_of_record": "crm", "source": {"table": "v"}}
        document["flows"].append({"data_type": data_type, "to": "desk", "target": {"resource": resource}})
    file.write_text(json.dumps(document))


@pytest.mark.usefixtures("vendors")
def test_what_is_another_data_types_record_too_is_left_alone(
    state: State, faulty: Faulty, number: int, typed: Typed
) -> None:
    faulty.script("DELETE", "/contacts/2", *["503"] * 20)
    words = ("merge", str(number), "1", "--with", "2", "--retire", "delete", "--yes")
    typed(*words, status=1)
    faulty._scripted.clear()
    Crosswalk(state, "desk", "vendor", "contacts").link("9", "2", 1, {})
    assert "2 is vendor 9 by now, and is left alone" in typed("retry", str(number), status=1)
    assert "2 in desk is vendor 9 too, and can't go" in typed(*words, status=1)
    Crosswalk(state, "desk", "good", "by_offset").link("g", "3", 1, {})
    typed("merge", str(number), "2", "--with", "3", "--retire", "delete", "--yes")
    assert set(faulty.contacts()) == {"1", "2"}, "what is a vendor may stay, and other resources' ids are others"


@pytest.mark.usefixtures("vendors")
def test_another_data_types_record_follows_the_survivor(
    state: State, faulty: Faulty, number: int, typed: Typed
) -> None:
    faulty.renumbers = True
    Crosswalk(state, "desk", "vendor", "contacts").link("9", "1", 1, {})
    typed("merge", str(number), "1", "--with", "2", "--yes")
    (left,) = set(faulty.contacts()) - {"3"}
    assert Crosswalk(state, "desk", "vendor", "contacts").external_of(["9"]) == {"9": left}


def test_what_is_gone_can_not_be_the_one_that_stays(faulty: Faulty, number: int, typed: Typed) -> None:
    typed("merge", str(number), "1", "--with", "2", "--retire", "delete", "--yes")
    anew = ("merge", str(number), "2", "--with", "1", "--retire", "delete", "--yes")
    assert "2 in desk is gone" in typed(*anew, status=1)
    assert set(faulty.contacts()) == {"1", "3"}


def test_what_belongs_to_another_record_or_was_not_shown_is_left_alone(
    state: State, faulty: Faulty, number: int, typed: Typed
) -> None:
    Crosswalk(state, "desk", "client", "contacts").link("9", "2", 1, {})
    assert "2 in desk is client 9 already" in typed("merge", str(number), "1", "--with", "2", "--yes", status=1)
    other = faulty.add(name="Somebody else")
    assert f"{other} is not a possible match" in typed("merge", str(number), "1", "--with", other, "--yes", status=1)
    assert "both stay and go" in typed("merge", str(number), "1", "--with", "1", "--yes", status=1)
    assert "Continue?" in typed("merge", str(number), "1", "--with", "3", status=1)
    assert len(faulty.contacts()) == 4
    assert Candidates(state, "desk", "client", "contacts").open() != []
