"""Dead letters in the console: seen by cause, looked at, sent back, mended, discarded; and who may."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from html import unescape
from urllib.parse import quote

import pytest
from playwright.sync_api import Page

from sorbus.audit import AuditFilter, AuditTrail
from sorbus.deadletter import DeadLetter
from sorbus.dlq.store import LetterStore
from sorbus.ops.console.access.authenticators import Authenticator, NoAuth
from sorbus.ops.console.access.user import Role, User
from sorbus.state.database import State
from tests.consumers.line import RESTRICTED, Line, eventually, named
from tests.dlq.plugin import line, make_line, post, state
from tests.dlq.post import Post
from tests.ops.console.visitor import TOKEN, Served, Visitor, serving

__all__ = ["line", "make_line", "post", "state"]

LONG = "a name that is too long for it"
SCRIPT = "<script>alert(1)</script>"
Open = Callable[..., Served]


@pytest.fixture
def open_console(line: Line) -> Iterator[Open]:
    """Opens the line's console."""
    with ExitStack() as opened:

        def start(authenticator: Authenticator | None = None) -> Served:
            return opened.enter_context(serving(line.loaded, line.settings, line.state, authenticator or NoAuth()))

        yield start


@pytest.fixture
def visitor(open_console: Open) -> Visitor:
    return open_console().visitor()


def refuse(line: Line, *ids: str) -> list[DeadLetter]:
    line.execute(RESTRICTED)
    with line.consuming():
        line.publish([(id, 1, named(LONG)) for id in ids])
        return line.until_letters(len(ids))


def page_with(visitor: Visitor, path: str, words: str) -> str:
    """The page at `path` once it says these words."""

    def page() -> str | None:
        text = visitor.get(path).text
        return text if words in text else None

    return eventually(page, f"{words} at {path}")


def all_shown(visitor: Visitor, path: str) -> dict[str, str]:
    """The fields of the form at `path`, for all letters that it shows."""
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', visitor.get(path).text)
    return {**{name: unescape(value) for name, value in hidden}, "which": "all"}


def page_of(letter: DeadLetter) -> str:
    return f"/letter?id={quote(letter.id)}"


def test_letters_are_seen_by_cause_and_sent_back_when_that_is_mended(
    line: Line, post: Post, visitor: Visitor, state: State
) -> None:
    letters = refuse(line, "g1", "g2")
    post.write(post.letter(number, reason="Frozen") for number in range(11, 15))
    page_with(visitor, "/letters", ">Refused<")
    page = page_with(visitor, "/letters", "Rule violated")
    assert "CheckViolation" not in page, "a driver's word"
    assert re.search(r"Rule violated<.*?<td class=\"n\">2", page, re.DOTALL)
    assert re.search(r">Refused<.*?<td class=\"n\">4", page, re.DOTALL)
    cause = letters[0].cause
    listed = visitor.get(f"/letters/list?cause={cause}")
    assert "2 dead letters" in listed.text
    assert "g11" not in listed.text

    form = f"/letters/list?cause={cause}"
    all_of_it = all_shown(visitor, form)
    dry = visitor.post("/letters/act", {**all_of_it, "action": "dry-run"}, form=form)
    assert dry.status_code == 200
    assert "refuse" in dry.text
    line.execute("alter table gadgets drop constraint short_name")
    assert "create" in visitor.post("/letters/act", {**all_of_it, "action": "dry-run"}, form=form).text
    assert line.rows() == {}

    with line.consuming():
        sent = visitor.post("/letters/act", {**all_of_it, "action": "requeue"}, form=form)
        assert sent.status_code == 303
        assert sent.headers["location"] == form
        assert "2 dead letters will be retried" in visitor.get(form).text
        line.until({"g1": LONG, "g2": LONG})
    eventually(lambda: 'chip ok">delivered' in visitor.get(page_of(letters[0])).text, "the closed letter's page")
    (entry,) = AuditTrail(state).page(filter=AuditFilter(action="requeue"))
    assert entry.details["count"] == 2


def test_one_letter_is_looked_at_edited_and_lands(line: Line, visitor: Visitor, state: State) -> None:
    (letter,) = refuse(line, "g1")
    page = visitor.get(page_of(letter)).text
    assert "short_name" in page
    assert LONG in page, "a gadget's name is not personal"
    assert "does not have this record" in page
    assert re.search(r"000000  [0-9a-f ]{47}  ", page), "its bytes"

    edit = f"/letter/edit?id={quote(letter.id)}"
    form = visitor.get(edit).text
    assert f'name="f:name" value="{LONG}"' in form
    assert form.index('class="asked"') < form.index('name="f:name"') < form.index("<details>"), "what it is about first"
    (seen,) = re.findall(r'name="seen" value="([^"]+)"', form)
    about = {"id": letter.id, "seen": seen}
    wrong = visitor.post("/letter/edit", {**about, "f:name": "", "f:lines[0].sku": "S1"}, form=edit)
    assert wrong.status_code == 422
    assert "must have a value" in wrong.text
    assert 'aria-invalid="true"' in wrong.text
    assert 'value="S1"' in wrong.text, "what was typed is still there"
    stale = visitor.post("/letter/edit", {**about, "seen": "2026-01-01T00:00:00+00:00", "f:name": "x"}, form=edit)
    assert stale.status_code == 409
    assert "has changed meanwhile" in stale.text
    saved = visitor.post("/letter/edit", {**about, "f:name": "mended"}, form=edit)
    assert saved.status_code == 303
    with line.consuming():
        line.until({"g1": "mended"})
    closed = page_with(visitor, page_of(letter), '<span class="chip ok">delivered')
    assert "edit: name" in closed
    assert "/letter/edit" not in closed


def test_ticked_letters_are_given_to_somebody_and_discarded(post: Post, visitor: Visitor, state: State) -> None:
    letters = [post.letter(number) for number in range(1, 61)]
    post.write(letters)
    cause = letters[0].cause
    form = f"/letters/list?cause={cause}"
    first = page_with(visitor, form, "60 dead letters")
    (more,) = re.findall(r'href="([^"]+)" rel="next"', first)
    assert visitor.get(more.replace("&amp;", "&")).text.count('name="id"') == 10
    ids = [letter.id for letter in letters[:2]]
    ticked: dict[str, str | list[str]] = {"id": ids, "which": "ticked", "back": f"cause={cause}"}
    visitor.post("/letters/act", {**ticked, "action": "assign", "person": "Ada"}, form=form)
    assert visitor.get("/letters/list?assigned_to=Ada").text.count('name="id"') == 2
    refused = visitor.post("/letters/act", {**ticked, "action": "discard"}, form=form)
    assert refused.status_code == 303
    assert "Enter a reason" in visitor.get(form).text
    visitor.post("/letters/act", {**ticked, "action": "discard", "reason": "a test"}, form=form)
    assert "58 dead letters" in visitor.get(form).text
    assert {letter.state for letter in LetterStore(state).named(ids)} == {"discarded"}
    nothing = {"which": "ticked", "action": "requeue", "back": f"cause={cause}"}
    visitor.post("/letters/act", nothing, form=form)
    assert "Select at least one dead letter" in visitor.get(form).text


def test_many_letters_are_dealt_with_behind_the_page(post: Post, visitor: Visitor, state: State) -> None:
    post.write(post.letter(number) for number in range(1, 1202))
    cause = post.letter(1).cause
    form = f"/letters/list?cause={cause}"
    eventually(lambda: "1,201 dead letters" in visitor.get(form).text, "1,201 letters")
    sent = all_shown(visitor, form)
    assert visitor.post("/letters/act", {**sent, "action": "requeue"}, form=form).status_code == 303
    eventually(lambda: "1,201 dead letters will be retried" in visitor.get("/letters").text, "the end of the work")
    (entry,) = AuditTrail(state).page()
    assert entry.details["count"] == 1201


@pytest.mark.parametrize("action", ["requeue", "discard", "assign", "dry-run"])
def test_all_are_those_that_the_page_showed(post: Post, visitor: Visitor, state: State, action: str) -> None:
    post.write([post.letter(1), post.letter(2)])
    form = f"/letters/list?cause={post.letter(1).cause}"
    page_with(visitor, form, "2 dead letters")
    shown = all_shown(visitor, form)
    post.write([post.letter(3)])
    page_with(visitor, form, "3 dead letters")
    answer = visitor.post("/letters/act", {**shown, "action": action, "reason": "a test", "person": "Ada"}, form=form)
    if action == "dry-run":
        assert "gadget g2" in answer.text
        assert "gadget g3" not in answer.text
        return
    assert "1 dead letter came after this page was shown, and stay" in visitor.get(form).text
    third = LetterStore(state).get(post.letter(3).id)
    assert third is not None
    assert (third.state, third.assigned_to) == ("open", "")
    without = {name: value for name, value in shown.items() if name != "until"}
    assert visitor.post("/letters/act", {**without, "action": action}, form=form).status_code == 400


@pytest.mark.parametrize("asked", ["assigned_to=Ada", "record=g1", "data_type=gadget&record=g1&state=open"])
def test_a_cause_leads_to_the_letters_that_were_asked_for(post: Post, visitor: Visitor, asked: str) -> None:
    letters = [post.letter(number) for number in (1, 2, 3)]
    post.write(letters)
    listed = f"/letters/list?cause={letters[0].cause}"
    page_with(visitor, listed, "3 dead letters")
    visitor.post("/letters/act", {"id": letters[0].id, "action": "assign", "person": "Ada"}, form=listed)
    found = re.search(r'href="(/letters/list[^"]*)"', visitor.get(f"/letters?{asked}").text)
    assert found
    page = visitor.get(unescape(found[1])).text
    assert "1 dead letter<" in page
    assert "gadget g2" not in page
    assert f'href="{listed}&amp;state=' in page, "those of the same cause"


@pytest.mark.parametrize("chosen", ["all", "landed", "closed"])
def test_what_is_closed_is_not_acted_on(post: Post, visitor: Visitor, state: State, chosen: str) -> None:
    letters = [post.letter(number) for number in (1, 2)]
    post.write(letters)
    post.close(letters[0], "requeued")
    form = f"/letters/list?state={chosen}"
    page = page_with(visitor, form, "gadget g1")
    assert ("all 1 that aren&#39;t closed" in page or "all 1 that aren't closed" in page) == (chosen == "all")
    assert (">Retry</button>" in page) == (chosen == "all")
    for action in ("requeue", "discard"):
        visitor.post("/letters/act", {**all_shown(visitor, form), "action": action, "reason": "a test"}, form=form)
    known = {letter.record: letter.state for letter in LetterStore(state).named([each.id for each in letters])}
    assert known == {"g1": "landed", "g2": "requeued" if chosen == "all" else "open"}


def test_what_a_record_holds_is_text_and_never_a_script(post: Post, visitor: Visitor) -> None:
    letter = replace(post.letter(1, reason=SCRIPT, record=named(SCRIPT)), words=SCRIPT, message=SCRIPT)
    post.write([letter])
    eventually(lambda: "&lt;script&gt;" in visitor.get("/letters").text, "the letter")
    for path in ("/letters", f"/letters/list?cause={letter.cause}", page_of(letter), f"/letter/edit?id={letter.id}"):
        page = visitor.get(path)
        assert page.status_code == 200, path
        assert "&lt;script&gt;" in page.text, path
        assert SCRIPT not in page.text, path


def test_what_is_unknown_is_said(post: Post, visitor: Visitor) -> None:
    assert visitor.get("/letter?id=no:such").status_code == 404
    assert visitor.get("/letters/list?after=yesterday").status_code == 400
    assert visitor.get("/letters?state=lost").status_code == 400
    assert visitor.get("/letter/edit?id=no:such").status_code == 409
    assert "No dead letters." in visitor.get("/letters").text


class ViewersDoor(NoAuth):
    """Lets everybody in as a viewer."""

    def __init__(self) -> None:
        self._person = User("Vi", Role.viewer)


@pytest.mark.parametrize("field", ["person", "reason"])
def test_enter_in_a_field_presses_no_button(
    post: Post, open_console: Open, state: State, page: Page, field: str
) -> None:
    letter = post.letter(1)
    post.write([letter])
    served = open_console()
    listed = f"/letters/list?cause={letter.cause}"
    page_with(served.visitor(), listed, "gadget g1")
    for path in (page_of(letter), listed):
        page.goto(served.url + path)
        page.fill(f"#{field}", "Ada")
        page.press(f"#{field}", "Enter")
        assert page.evaluate("document.querySelector('#letters').matches('form')"), "still on the page"
    assert AuditTrail(state).page() == []
    page.goto(served.url + page_of(letter))
    page.fill("#person", "Ada")
    page.click("button[value=assign]")
    page.wait_for_selector("text=assigned to Ada")
    assert [entry.action for entry in AuditTrail(state).page()] == ["assign"]


def test_a_viewer_reads_and_changes_nothing(post: Post, open_console: Open, state: State) -> None:
    letter = post.letter(1)
    post.write([letter])
    visitor = open_console(ViewersDoor()).visitor()
    listed = f"/letters/list?cause={letter.cause}"
    page = page_with(visitor, listed, "gadget g1")
    assert "<form" not in page.replace('<form method="post" action="/letters/act" id="letters">', "", 1)
    assert 'name="action"' not in page
    assert visitor.get(page_of(letter)).status_code == 200
    assert visitor.get(f"/letter/edit?id={letter.id}").status_code == 403
    token = TOKEN.search(page)
    assert token is not None
    for path, sent in (
        ("/letters/act", {"action": "requeue", "id": letter.id}),
        ("/letters/act", {"action": "discard", "id": letter.id, "reason": "no"}),
        ("/letter/edit", {"id": letter.id, "f:name": "x"}),
        ("/letter/personal", {"id": letter.id}),
    ):
        answer = visitor.post(path, sent, form=listed)
        assert answer.status_code == 403, path
        assert "this needs the role operator" in answer.text
    assert AuditTrail(state).page(filter=AuditFilter()) == []
    assert [each.state for each in LetterStore(state).named([letter.id])] == ["open"]
