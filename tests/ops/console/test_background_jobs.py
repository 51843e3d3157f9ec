"""The console's pages of what waits for people: waiting records, changed sources, checklists."""

from __future__ import annotations

import html
import re

import pytest
from playwright.sync_api import Page

from sorbus.audit import AuditTrail
from sorbus.drift.store import DriftStore
from sorbus.map.loaded import LoadedMap
from sorbus.ops.checklists.store import Checklists
from sorbus.state import State
from sorbus.waiting.store import HeldBack, WaitingEvent, WaitingStore, waiting
from tests.ops.console.browser import faults
from tests.ops.console.visitor import Served, Visitor

FLOW, BY_HAND = "customer-to-accounting", "customer-to-plan"
EVIL = "<script>alert(1)</script>"


def hold(state: State, ids: list[str], message: str = "customer {} lacks tax_number") -> None:
    """Records that wait in a flow's room, one after the other."""
    room = WaitingStore(state, FLOW, "customer", "accounting")
    for number, id in enumerate(ids):
        event = WaitingEvent(id.encode(), 1, b"frame", [], "customer", 0, number)
        room.put([HeldBack(event, "incomplete", [("tax_number", "")], message.format(id))], limit=0)


def find(state: State, system: str = "crm", severity: str = "held", now: str = "text") -> int:
    """A drift finding; its number."""
    return DriftStore(state).put(
        {
            "system": system,
            "data_type": "customer",
            "resource": "public.customers",
            "field": "name",
            "what": "retyped",
            "was": "text",
            "now": now,
            "severity": severity,
            "renamed": "",
            "example": "***",
            "ids": [],
            "mapping": "",
            "count": 3,
            "first_seen": 1_000_000,
            "last_seen": 1_000_100,
        }
    )


@pytest.fixture
def visitor(console: Served) -> Visitor:
    return console.visitor()


def shown(visitor: Visitor) -> dict[str, str]:
    """The round that the checklist's page shows, for its forms."""
    (round,) = set(re.findall(r'name="round" value="([^"]+)"', visitor.get(f"/checklists/{BY_HAND}").text))
    return {"round": html.unescape(round)}


def test_waiting_records_say_what_is_missing_and_whom_to_ask(visitor: Visitor, state: State) -> None:
    assert "No waiting records." in visitor.get("/waiting").text
    hold(state, ["4711", EVIL])

    page = visitor.get("/waiting?why=incomplete").text

    assert "Sales operations, in crm" in page
    assert "customer 4711 lacks tax_number" in page
    assert EVIL not in page
    assert "&lt;script&gt;" in page
    assert "No waiting records." in visitor.get("/waiting?why=reference").text
    assert visitor.get("/waiting?why=boredom").status_code == 404
    assert visitor.get("/waiting?after=yesterday").status_code == 400


def test_a_waiting_record_is_tried_when_somebody_says_so(visitor: Visitor, state: State) -> None:
    hold(state, ["4711", "4712"])
    room = WaitingStore(state, FLOW, "customer", "accounting")
    assert room.take(10) == []

    answer = visitor.post("/waiting/retry", {"flow": FLOW, "id": "4711"}, form="/waiting")

    assert (answer.status_code, answer.headers["location"]) == (303, f"/waiting?flow={FLOW}")
    assert "1 record of customer-to-accounting will be retried" in visitor.get(answer.headers["location"]).text
    assert [due.event.key for due in room.take(10)] == [b"4711"]
    visitor.post("/waiting/retry", {"flow": FLOW}, form=f"/waiting?flow={FLOW}")
    assert {due.event.key for due in room.take(10)} >= {b"4712"}
    refused = visitor.post("/waiting/retry", {"flow": "customer-to-nowhere"}, form="/waiting")
    assert "has no flow" in visitor.get(refused.headers["location"]).text


def test_pages_of_waiting_records_show_each_once(visitor: Visitor, state: State) -> None:
    hold(state, [f"{number:03}" for number in range(230)])
    seen, path = list[str](), "/waiting?why=incomplete"
    while path:
        page = visitor.get(path).text
        seen += re.findall(r'<th scope="row"><a [^>]*>customer (\d+)</a></th>', page)
        onward = re.search(r'href="(/waiting\?[^"]*after=[^"]*)"', page)
        path = onward[1].replace("&amp;", "&") if onward else ""
    assert seen == [one.id for one in waiting(state)]
    assert len(seen) == 230


def test_a_changed_source_is_settled_with_a_reason(visitor: Visitor, state: State) -> None:
    assert "No source has changed." in visitor.get("/drift").text
    number = find(state, now=EVIL)

    assert "records on hold" in visitor.get("/drift").text
    page = visitor.get(f"/drift/{number}").text
    assert "Sales operations &lt;sales@example.com&gt;" in page
    assert EVIL not in page
    without = visitor.post(f"/drift/{number}/settle", {"reason": " "}, form=f"/drift/{number}")
    assert "Enter a reason" in visitor.get(without.headers["location"]).text
    settled = visitor.post(f"/drift/{number}/settle", {"reason": "the shop's"}, form=f"/drift/{number}")
    assert settled.headers["location"] == "/drift"
    assert DriftStore(state).findings() == []
    assert "the shop&#39;s" in visitor.get(f"/drift/{number}").text
    assert f'href="/drift/{number}"' in visitor.get("/drift?all=1").text
    assert visitor.get("/drift/999").status_code == 404


def test_a_checklist_is_ticked_and_finished(visitor: Visitor, state: State, loaded: LoadedMap) -> None:
    here = f"/checklists/{BY_HAND}"
    assert BY_HAND in visitor.get("/checklists").text

    round = shown(visitor)
    visitor.post(f"{here}/tick", {**round, "step": "1"}, form=here)
    assert "Step 1 is done." in visitor.get(here).text
    visitor.post(f"{here}/tick", {**round, "step": "1", "undo": "1"}, form=here)
    assert "no longer marked done" in visitor.get(here).text
    wrong = visitor.post(f"{here}/tick", {**round, "step": "7"}, form=here)
    assert "no step 7" in visitor.get(wrong.headers["location"]).text
    empty = visitor.post(f"{here}/done", {**round, "verification": " "}, form=here)
    assert "enter the verification result" in visitor.get(empty.headers["location"]).text
    visitor.post(f"{here}/done", {**round, "verification": EVIL}, form=here)

    page = visitor.get(here).text
    assert "&lt;script&gt;" in page
    assert EVIL not in page
    assert Checklists(loaded.map, state).get(BY_HAND).standing == "done"
    assert f'action="{here}/done"' not in page, "what is done has no form"
    assert visitor.get("/checklists/nothing").status_code == 404


def test_a_double_click_does_not_do_the_next_round(visitor: Visitor, state: State, loaded: LoadedMap) -> None:
    here, checklists = f"/checklists/{BY_HAND}", Checklists(loaded.map, state)
    checklists.all()
    state.run(b"update checklist set since = now() - interval '100 days'")
    assert checklists.get(BY_HAND).standing == "overdue"
    form = {**shown(visitor), "verification": "all equal"}

    for round, told in (
        (form["round"], "The round is done."),
        (form["round"], "shown is over"),
        ("now", "The form names no round"),
    ):
        visitor.post(f"{here}/done", {**form, "round": round}, form=here)
        assert told in visitor.get(here).text
    assert len(checklists.get(BY_HAND).done) == 1


@pytest.mark.parametrize("path", ["/waiting/retry", "/drift/1/settle", f"/checklists/{BY_HAND}/done"])
def test_a_deed_without_its_pages_token_is_refused(visitor: Visitor, path: str) -> None:
    answer = visitor.client.post(path, data={"csrf": "0" * 64}, headers={"Origin": visitor.url})
    assert answer.status_code == 403


def test_the_audit_trail_tells_who_did_what_by_pages(visitor: Visitor, state: State) -> None:
    assert "No entries yet." in visitor.get("/audit").text
    hold(state, ["4711"])
    visitor.post("/waiting/retry", {"flow": FLOW, "id": "4711"}, form="/waiting")
    visitor.post(f"/checklists/{BY_HAND}/tick", {**shown(visitor), "step": "1"}, form=f"/checklists/{BY_HAND}")
    trail = AuditTrail(state)
    for number in range(120):
        trail.note("Ada", "discard", "letter", f"L/{number}", reason=EVIL, details={"attempts": number})

    newest = visitor.get("/audit").text
    older = re.search(r'href="(/audit\?before=\d+)"', newest)
    assert older is not None
    rest = visitor.get(older[1]).text

    assert "attempts: 119" in newest
    assert "attempts: 119" not in rest
    assert EVIL not in newest
    assert 'href="/letter?id=L%2F119"' in newest
    assert ">retry<" in rest
    assert f'href="/checklists/{BY_HAND}"' in rest
    assert "customer 4711" in rest
    assert "attempts" not in visitor.get("/audit?action=retry&record=4711&data_type=customer").text
    assert "No matching entries." in visitor.get("/audit?who=Nobody").text


@pytest.mark.slow
def test_the_pages_are_accessible_with_something_on_them(
    console: Served, page: Page, state: State, loaded: LoadedMap
) -> None:
    hold(state, ["4711", "4712"])
    number = find(state)
    Checklists(loaded.map, state).tick(BY_HAND, [1], "ann")
    paths = [f"/waiting?flow={FLOW}", "/drift", f"/drift/{number}", "/checklists", f"/checklists/{BY_HAND}", "/audit"]
    assert faults(console.url, page, paths) == []
