"""Duplicates, conflicts and traces in the console: seen masked, decided by operators, each decision carried out."""

from __future__ import annotations

import re
from datetime import datetime

import pytest
from confluent_kafka import Producer
from playwright.sync_api import Page
from starlette.requests import Request

from sorbus.audit import AuditTrail
from sorbus.avro.encode import encoder
from sorbus.bus.kafka import admin, base_config
from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.conflict.store import Conflicts, Contest
from sorbus.errors import SorbusError
from sorbus.event import event_encoder
from sorbus.identity.candidates import Candidates, Decision
from sorbus.identity.match import Candidate, Matcher
from sorbus.identity.merged import MergedRecords
from sorbus.map.loaded import LoadedMap
from sorbus.mapfile.model import DataType
from sorbus.mapping.default import encoded_default
from sorbus.ops.console.access.authenticators import NoAuth
from sorbus.ops.console.access.user import Role, User, Visit
from sorbus.ops.embedded import Addresses
from sorbus.ops.runtime.topics import plan_topics, topics_of
from sorbus.schema import read_schema
from sorbus.schemas import packaged_schema
from sorbus.settings import Settings
from sorbus.state import State
from tests.ops.console.browser import faults
from tests.ops.console.conftest import Serve
from tests.ops.console.visitor import Served

CUSTOMER = read_schema(packaged_schema("customer"))
MATCHER = Matcher(DataType(match=["email"]), CUSTOMER)
OURS = {"name": "Ada Lovelace", "email": "ada@larkspur.example"}
EVIL = "<script>alert(1)</script>"


class ViewersDoor(NoAuth):
    """Lets everybody in to look, and to do nothing."""

    def visit(self, request: Request, cookie: str) -> Visit:
        return super().visit(request, cookie)._replace(person=User("Vera", Role.viewer))


@pytest.fixture
def number(state: State) -> int:
    """Customer 7 may be X1 or X2 in accounting."""
    there = [Candidate(id, {**OURS, "name": f"A Lovelace {id}"}) for id in ("X1", "X2")]
    verdict = MATCHER.judge(OURS, there)
    return Candidates(state, "accounting", "customer", "debtors").put("7", 1, verdict, MATCHER, OURS, there)


@pytest.fixture
def conflict(state: State) -> int:
    """Somebody changed the name of customer 7 in accounting."""
    found = [Contest("name", "Ada", EVIL, "Ada Lovelace")]
    conflicts = Conflicts(state, "accounting", "customer", "debtors")
    return conflicts.put("7", 1, "customer-to-accounting", "X1", found, asks=True)[0]


def test_candidates_are_side_by_side_and_masked_until_an_operator_asks(
    console: Served, state: State, number: int
) -> None:
    visitor = console.visitor()
    assert f'href="/duplicates/{number}"' in visitor.get("/duplicates").text
    page = visitor.get(f"/duplicates/{number}").text
    assert "X1" in page
    assert "X2" in page
    assert "Lovelace" not in page
    assert "ada@larkspur.example" not in page
    shown = visitor.post(f"/duplicates/{number}/values", form=f"/duplicates/{number}")
    assert "Ada Lovelace" in shown.text
    (noted,) = AuditTrail(state).page()
    assert (noted.action, noted.subject, noted.record) == ("show personal values", str(number), "7")


@pytest.mark.parametrize(
    ("choice", "decided"), [("link", Decision("link", "X2")), ("create", Decision("create", None))]
)
def test_what_a_person_says_is_written_down(
    console: Served, state: State, number: int, choice: str, decided: Decision
) -> None:
    visitor = console.visitor()
    sent = {"choice": choice, "survivor": "X2", "reason": "asked her"}
    answer = visitor.post(f"/duplicates/{number}", sent)
    assert (answer.status_code, answer.headers["location"]) == (303, "/duplicates")
    assert "with its next change" in visitor.get("/duplicates").text
    assert Candidates(state, "accounting", "customer", "debtors").decision_for(["7"]) == {"7": decided}
    assert "asked her" in visitor.get(f"/duplicates/{number}").text


def test_doubles_are_merged_by_hand_where_the_system_cant(console: Served, state: State, number: int) -> None:
    visitor = console.visitor()
    here = f"/duplicates/{number}"
    assert visitor.post(here, {"choice": "merge", "other": ["X2"]}).headers["location"] == here
    assert "Select the matching record" in visitor.get(here).text
    sent: dict[str, str | list[str]] = {"choice": "merge", "survivor": "X1", "other": ["X1", "X2"], "way": "person"}
    assert visitor.post(here, sent).headers["location"] == "/duplicates/merges"
    assert "merge X2 into X1 in accounting" in visitor.get("/duplicates/merges").text
    done = visitor.post(f"{here}/merged", {"external_id": "X2", "did": "done"}, form="/duplicates/merges")
    assert done.status_code == 303
    assert [(one.external_id, one.state) for one in MergedRecords(state).all()] == [("X2", "done")]
    assert "Nothing left to merge" in visitor.get("/duplicates/merges").text


def test_a_conflict_shows_three_values_and_is_decided(console: Served, state: State, conflict: int) -> None:
    visitor = console.visitor()
    assert f'href="/conflicts/{conflict}"' in visitor.get("/conflicts").text
    here = f"/conflicts/{conflict}"
    assert EVIL not in visitor.get(here).text
    shown = visitor.post(f"{here}/values", form=here).text
    assert EVIL not in shown, "what people entered stays text"
    assert "&lt;script&gt;" in shown
    assert visitor.post(here, {"choice": "nonsense"}).headers["location"] == here
    answer = visitor.post(here, {"choice": "keep", "reason": "they know"})
    assert answer.headers["location"] == "/conflicts"
    found = Conflicts(state).get(conflict)
    assert (found.state, found.reason) == ("keep", "they know")
    assert "keep" in visitor.get("/conflicts?state=decided").text
    assert visitor.get("/conflicts?state=nonsense").status_code == 404
    assert visitor.get("/conflicts/999999").status_code == 404


def test_enter_in_the_reason_decides_nothing(
    console: Served, state: State, page: Page, number: int, conflict: int
) -> None:
    for path, selected in ((f"/duplicates/{number}", "#is-1"), (f"/conflicts/{conflict}", "")):
        page.goto(console.url + path)
        if selected:
            page.check(selected)
        page.fill("#reason", "asked her")
        page.press("#reason", "Enter")
        assert page.input_value("#reason") == "asked her", "still on the page"
    assert Conflicts(state).get(conflict).state == "open"
    assert Candidates(state, "accounting", "customer", "debtors").decision_for(["7"]) == {}


def test_a_decision_about_values_that_have_changed_since_they_were_shown_is_refused(
    console: Served, state: State, conflict: int
) -> None:
    visitor, here = console.visitor(), f"/conflicts/{conflict}"
    (shown,) = re.findall(r'name="shown" value="(\w+)"', visitor.get(here).text)
    conflicts = Conflicts(state, "accounting", "customer", "debtors")
    conflicts.put("7", 2, "customer-to-accounting", "X1", [Contest("name", "Ada", "Other", "Ada Lovelace")], asks=True)
    answer = visitor.post(here, {"choice": "keep", "shown": shown})
    assert (answer.headers["location"], conflicts.get(conflict).state) == (here, "open")
    (shown,) = re.findall(r'name="shown" value="(\w+)"', visitor.get(here).text)
    assert visitor.post(here, {"choice": "keep", "shown": shown}).headers["location"] == "/conflicts"
    assert conflicts.get(conflict).state == "keep"


@pytest.mark.parametrize("theirs", ["Other", EVIL])
def test_values_that_come_while_a_decision_is_saved_are_not_what_was_decided(
    state: State, conflict: int, theirs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    conflicts, saved = Conflicts(state, "accounting", "customer", "debtors"), Conflicts._told
    shown = conflicts.get(conflict).shown

    def meanwhile(self: Conflicts, *given: str | int | datetime | None) -> bool:
        monkeypatch.undo()
        contest = Contest("name", "Ada", theirs, "Ada Lovelace")
        conflicts.put("7", 2, "customer-to-accounting", "X1", [contest], asks=True)
        return saved(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Conflicts, "_told", meanwhile)
    if theirs == EVIL:  # it is about the same
        assert Conflicts(state).decide(conflict, "keep", who="ada", reason="", shown=shown).state == "keep"
    else:
        with pytest.raises(SorbusError, match="about other values by now"):
            Conflicts(state).decide(conflict, "keep", who="ada", reason="", shown=shown)
        assert conflicts.get(conflict).state == "open"


def test_viewers_see_and_cant_act(serve: Serve, state: State, number: int, conflict: int) -> None:
    visitor = serve(authenticator=ViewersDoor()).visitor()
    for path in (f"/duplicates/{number}", f"/conflicts/{conflict}", "/trace?type=customer&id=7"):
        page = visitor.get(path)
        assert page.status_code == 200, path
        assert "Lovelace" not in page.text
        assert 'method="post"' not in page.text, f"{path} offers what a viewer may not do"
    Conflicts(state).get(conflict)
    operator = serve().visitor()
    token = operator.token(f"/conflicts/{conflict}")
    for path in (f"/conflicts/{conflict}", f"/duplicates/{number}", f"/conflicts/{conflict}/values", "/trace"):
        sent = {"csrf": token, "choice": "overwrite"}
        assert visitor.client.post(path, data=sent, headers={"Origin": visitor.url}).status_code == 403, path
    assert Conflicts(state).get(conflict).state == "open"


def test_a_trace_tells_events_questions_and_targets(
    console: Served, loaded: LoadedMap, stack: Addresses, number: int, conflict: int
) -> None:
    publish(loaded, stack, [{"name": "Ada"}, {"name": EVIL}])
    visitor = console.visitor()
    assert "Trace a record" in visitor.get("/trace").text
    page = visitor.get("/trace?type=customer&id=7").text
    assert "version 2" in page
    assert f'href="/duplicates/{number}"' in page
    assert f'href="/conflicts/{conflict}"' in page
    assert "targets=1" in page, "targets are asked by a request of their own"
    assert "Ada" not in page
    asked = visitor.get("/trace?type=customer&id=7&targets=1").text
    assert "customer-to-accounting" in asked
    shown = visitor.post("/trace?type=customer&id=7", form="/trace?type=customer&id=7").text
    assert "Ada" in shown
    assert EVIL not in shown
    assert "No trace found" in visitor.get("/trace?type=customer&id=nobody").text
    assert visitor.get("/trace?type=nothing&id=7").status_code == 404
    assert visitor.get(f"/trace?type=customer&id={'x' * 501}").status_code == 404


@pytest.mark.slow
def test_pages_of_decisions_are_accessible_with_much_on_them(
    console: Served, page: Page, loaded: LoadedMap, stack: Addresses, state: State, number: int, conflict: int
) -> None:
    publish(loaded, stack, [{"name": "Ada"}, {"name": EVIL}])
    Candidates(state).merge(number, "X1", ["X2"], "person", who="Sales", reason="the same")
    there = [Candidate(id, {**OURS, "name": f"A Lovelace {id}"}) for id in ("X5", "X6")]
    verdict = MATCHER.judge(OURS, there)
    second = Candidates(state, "accounting", "customer", "debtors").put("8", 1, verdict, MATCHER, OURS, there)
    conflicts = Conflicts(state, "accounting", "customer", "debtors")
    over = [Contest("name", "a", "b", "c")]
    conflicts.overwritten(conflicts.put("9", 1, "customer-to-accounting", "X9", over, asks=False))
    paths = ["/duplicates", f"/duplicates/{number}", f"/duplicates/{second}", "/duplicates/merges", "/conflicts"]
    paths += [f"/conflicts/{conflict}", "/conflicts?state=overwritten", "/trace", "/trace?type=customer&id=7&targets=1"]
    assert faults(console.url, page, paths) == []


def publish(loaded: LoadedMap, stack: Addresses, records: list[dict[str, object]]) -> None:
    """Writes customer 7's events, versions from 1 on."""
    settings, names = Settings(kafka=stack.kafka, registry=stack.registry), Names(loaded.map.topic_prefix)
    for step in plan_topics(admin(settings), topics_of(loaded.map)):
        assert step.apply is not None
        step.apply()
    prefix = SchemaResolver(settings, names).prefix("customer", CUSTOMER)
    encode = event_encoder(prefix, "crm", "customer")
    producer = Producer(base_config(settings, "test"))
    for version, record in enumerate(records, 1):
        fields = ((field, record.get(field.name)) for field in CUSTOMER.fields)
        data = b"".join(
            encoded_default(field) or b"" if value is None and field.has_default else encoder(field.type)(value)
            for field, value in fields
        )
        value, headers = encode(b"7", version, version * 1_000_000, version * 1_000_000, data)
        producer.produce(names.topic("customer"), value, b"7", headers=headers)
    assert producer.flush(30) == 0
