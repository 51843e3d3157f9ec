"""A two-way map: what is refused, what it becomes, and what people see of it."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path

import pytest

from sorbus.map.checks.check import check
from sorbus.map.load import load_map
from sorbus.map.loaded import LoadedMap
from sorbus.map.render.diagram import mermaid
from sorbus.map.render.report import document
from sorbus.ops.runtime.topics import topics_of
from sorbus.producers.merge.loops import TURNS, LoopBreaker
from sorbus.two_way.merge import Merging, Proposal
from sorbus.two_way.merged_record import MergedRecord
from sorbus.two_way.rules import MergeRules
from tests.http_api.faulty import DESCRIBED

FIELDS: list[object] = [
    {"name": "name", "type": "string"},
    {"name": "email", "type": ["null", "string"], "default": None},
    {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
    {"name": "credit", "type": ["null", "long"], "default": None},
]
ROWS = [
    "crm,customers.name,canonical,customer.name,",
    "crm,customers.email,canonical,customer.email,",
    "crm,customers.tags,canonical,customer.tags,",
    "canonical,customer.email,crm,customers.email,",
    "canonical,customer.credit,crm,customers.credit,",
    "canonical,customer.name,books,partners.title,",
    "canonical,customer.email,books,partners.mail,",
    "books,partners.mail,canonical,customer.email,",
    "books,partners.limit,canonical,customer.credit,",
]


def written(folder: Path, rows: list[str] = ROWS, *, kind: str = "postgres", **changes: object) -> LoadedMap:
    (folder / "mappings").mkdir(exist_ok=True)
    (folder / "schemas").mkdir(exist_ok=True)
    head = "Source System,Source Field,Target System,Target Field,Rule"
    (folder / "mappings" / "sheet.csv").write_text("\n".join([head, *rows]), "utf-8")
    (folder / "schemas" / "customer.avsc").write_text(
        json.dumps({"type": "record", "name": "customer", "fields": FIELDS}), "utf-8"
    )
    customer = {
        "system_of_record": "crm",
        "source": {"table": "customers", "key": ["id"]},
        "field_owners": {"credit": "books"},
        "merge": {"email": "latest"},
    }
    flow = {
        "data_type": "customer",
        "to": "books",
        "direction": "two-way",
        "target": {"table": "partners", "key": "no"},
    }
    document = {
        "systems": {
            "crm": {"kind": "postgres", "connection": {"dsn": "${CRM}"}, "owner": "Sales"},
            "books": {"kind": kind, "connection": {"dsn": "${BOOKS}"}, "owner": "Finance"},
        },
        "data_types": {"customer": customer | {k: v for k, v in changes.items() if k in ("merge", "field_owners")}},
        "flows": [flow | {k: v for k, v in changes.items() if k in ("where", "direction", "proposals")}],
    }
    (folder / "map.yaml").write_text(json.dumps(document), "utf-8")
    return load_map(folder / "map.yaml")


def test_a_sound_map_becomes_proposals_a_merge_and_a_way_back(tmp_path: Path) -> None:
    loaded = written(tmp_path)
    assert check(loaded) == []
    assert loaded.map.owner_of("customer") == "customer-merge"
    assert [one.name for one in loaded.for_check().sources("books")] == ["customer-proposals-books"]
    assert [field.name for field in loaded.schema("customer-proposals-books").fields] == ["email", "credit"]
    assert all(field.type.nullable for field in loaded.schema("customer-proposals-books").fields)
    lags = {topic.name: topic.config.get("min.compaction.lag.ms") for topic in topics_of(loaded.map)}
    week, day = str(7 * 86_400_000), str(86_400_000)
    shown = {name: lag for name, lag in lags.items() if lag in (week, day)}
    assert shown == {"customer-proposals-crm": week, "customer-proposals-books": week, "customer": day}
    back = loaded.for_check().flow("customer-to-crm")
    assert [field.name for field in back.schema.fields] == ["email", "credit"]
    assert back.flow.on_lost_events == "reread", "nobody could write it there"
    there = loaded.for_check().flow("customer-to-books")
    assert [field.name for field in there.schema.fields] == ["name", "email", "tags"]


def test_people_see_what_they_wrote(tmp_path: Path) -> None:
    loaded = written(tmp_path)
    drawn = mermaid(loaded.as_written.map)
    assert "merge" not in drawn
    assert "<-->" in drawn
    shown = document(loaded)
    assert [item.flow.id for item in shown.flows] == ["customer-to-books"]
    assert any(path.source_field == "customers.email" for item in shown.flows for path in item.paths)


NO_EMAIL_BACK = [row for row in ROWS if row != "canonical,customer.email,crm,customers.email,"]


@pytest.mark.parametrize(
    ("rows", "changes", "code", "words"),
    [
        (ROWS, {"merge": {}}, "no-rule", "merge: {email: latest}"),
        (ROWS, {"merge": {"email": "latest", "credit": "ask"}}, "contradiction", "keep one of them"),
        (ROWS, {"merge": {"email": "union"}}, "bad-value", "write latest or ask"),
        (ROWS, {"merge": {"email": "latest", "mail": "ask"}}, "unknown-field", "did you mean email?"),
        (NO_EMAIL_BACK, {}, "unmapped", "write a row from canonical customer.email to crm"),
        (ROWS[:-1], {}, "unmapped", "write a row from books to canonical customer.credit"),
        (ROWS, {"where": "email"}, "unsupported", "delete where:"),
        (ROWS, {"direction": "one-way"}, "contradiction", "direction: two-way"),
        (ROWS, {"kind": "mysql"}, "unsupported", "kinds postgres and http can be two-way"),
    ],
)
def test_what_cant_be_run_is_refused(
    tmp_path: Path, rows: list[str], changes: dict[str, object], code: str, words: str
) -> None:
    found = check(written(tmp_path, rows, **changes))  # type: ignore[arg-type]
    assert any(one.code == code and words in one.fix for one in found), found


def test_two_places_of_one_system_cant_both_be_two_way(tmp_path: Path) -> None:
    more = ["canonical,customer.email,books,people.mail,", "books,people.mail,canonical,customer.email,"]
    written(tmp_path, [*ROWS, *more])
    document = json.loads((tmp_path / "map.yaml").read_text("utf-8"))
    second = {"name": "customer-to-people", "target": {"table": "people", "key": "no"}}
    document["flows"].append(document["flows"][0] | second)
    (tmp_path / "map.yaml").write_text(json.dumps(document), "utf-8")
    (found,) = [one for one in check(load_map(tmp_path / "map.yaml")) if one.code == "unsupported"]
    assert "customer-to-books and customer-to-people are both two-way with books" in found.message


def test_two_systems_that_each_answer_what_they_are_given_are_stopped() -> None:
    breaker = LoopBreaker("crm", lambda: 0.0)
    both = {"crm": frozenset({"email"}), "books": frozenset({"email"})}
    merging, record = Merging(MergeRules("crm", both, {}, {"email": "latest"}), count(1).__next__), MergedRecord(b"1")
    merging.take(record, Proposal("crm", 1, 0, {"email": "a"}))
    merging.take(record, Proposal("books", 1, 0, {"email": "a"}, record.version))
    for number in range(2, 4 * TURNS, 2):
        system, other = ("books", "crm") if number % 4 else ("crm", "books")
        merging.take(record, Proposal(system, number, 0, dict(record.values or {}), record.version))
        shown = breaker.shown(record)
        (ruling,) = merging.take(record, Proposal(system, number + 1, number * 10**7, {"email": f"turn {number}"}))
        if stopped := breaker.turns(record, ruling, shown):
            break
    assert (stopped, number) == (other, 2 * TURNS)


def test_a_field_that_two_systems_change_in_turn_is_stopped_and_one_that_people_change_is_not() -> None:
    for gap, is_stopped in ((0.5, True), (30.0, False)):
        clock = [0.0]
        breaker = LoopBreaker("crm", lambda clock=clock: clock[0])
        rules = MergeRules("crm", {"books": frozenset({"email"})}, {}, {"email": "latest"})
        merging, record = Merging(rules, count(1).__next__), MergedRecord(b"1")
        merging.take(record, Proposal("crm", 1, 0, {"email": "a"}))
        stopped = False
        for number in range(2, 2 + 2 * TURNS):
            clock[0] += gap
            merging.take(record, Proposal("crm", number, 0, record.values and dict(record.values), record.version))
            shown = breaker.shown(record)
            (ruling,) = merging.take(record, Proposal("books", number, number * 10**7, {"email": f"turn {number}"}))
            stopped = stopped or breaker.turns(record, ruling, shown) == "crm"
        assert stopped is is_stopped
        if stopped:
            assert breaker.stopped is not None
            assert breaker.stopped[1:] == ("email", "books", "crm")


@pytest.mark.parametrize("lacks", ["get", "update"])
def test_an_application_whose_writes_cant_be_told_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    monkeypatch.setenv("BOOKS", "key")
    rows = [row.replace("partners.mail", "contacts.email").replace("partners.title", "contacts.name") for row in ROWS]
    written(tmp_path, [row.replace("partners.limit", "contacts.amount") for row in rows])
    contacts = {**DESCRIBED["resources"]["contacts"], "changes": None, lacks: None}
    described = {**DESCRIBED, "resources": {"contacts": contacts}}
    for key in ("x-contact", "webhooks"):
        described.pop(key, None)
    (tmp_path / "books.yaml").write_text(json.dumps(described), "utf-8")
    document = json.loads((tmp_path / "map.yaml").read_text("utf-8"))
    document["systems"]["books"] |= {"kind": "http", "connection": {"api": "books.yaml", "api_key": "${BOOKS}"}}
    document["flows"][0] |= {"target": {"resource": "contacts"}, "on_duplicate": "create"}
    (tmp_path / "map.yaml").write_text(json.dumps(document), "utf-8")
    found = check(load_map(tmp_path / "map.yaml"))
    assert any(one.code == "unsupported" and f"has no `{lacks}:`" in one.message for one in found), found
