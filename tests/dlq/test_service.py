"""What people do about letters, on a real flow: each deed is done, noted, and survives whatever interrupts it."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest

from sorbus.audit import AuditFilter, AuditTrail
from sorbus.deadletter import DeadLetter
from sorbus.dlq.outcomes import Discarded
from sorbus.dlq.requeue import send_back
from sorbus.dlq.service import DeadLetterService
from sorbus.dlq.store import LetterFilter, States
from sorbus.errors import SorbusError, TransientError
from sorbus.state.database import State
from sorbus.waiting.store import waiting
from tests.consumers.line import FLOW, RESTRICTED, Line, eventually, named
from tests.dlq.post import Post

LONG = "a name that is too long for it"
ALL = LetterFilter()


@pytest.fixture
def service(line: Line, state: State) -> DeadLetterService:
    return DeadLetterService(line.loaded, line.settings, state)


def refuse(line: Line, *ids: str) -> list[DeadLetter]:
    """Has the target refuse these gadgets; their letters."""
    line.execute(RESTRICTED)
    with line.consuming():
        line.publish([(id, 1, named(LONG)) for id in ids])
        return line.until_letters(len(ids))


def state_of(service: DeadLetterService, id: str) -> str:
    service.index.catch_up()
    found = service.letters.get(id)
    return found.state if found else "unknown"


def test_a_requeued_letter_lands_and_the_trail_says_who_sent_it(
    line: Line, service: DeadLetterService, state: State
) -> None:
    (letter,) = refuse(line, "g1")
    line.execute("alter table gadgets drop constraint short_name")
    assert service.requeue([letter.id], "Ada").ids == (letter.id,)
    assert state_of(service, letter.id) == "requeued"
    assert service.requeue(ALL, "Ada").ids == (), "what is on its way isn't sent twice"
    with line.consuming():
        line.until({"g1": LONG})
        eventually(lambda: state_of(service, letter.id) == "landed", "the closed letter")
    landed, sent = AuditTrail(state).page(filter=AuditFilter(data_type="gadget", record="g1"))
    assert (sent.who, sent.action, sent.subject_kind, sent.subject) == ("Ada", "requeue", "letter", letter.id)
    assert (landed.who, landed.action) == ("Sorbus", "landed")
    with pytest.raises(SorbusError, match="it was landed"):
        service.requeue([letter.id], "Ada")


def test_a_requeued_letter_that_must_wait_is_on_its_way_until_it_lands(
    line: Line, service: DeadLetterService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SORBUS_DATABASE", line.env["SORBUS_DATABASE"])
    (letter,) = refuse(line, "g1")
    line.execute("alter table gadgets drop constraint short_name")
    line.execute("create table makers (id text primary key)")
    line.execute("alter table gadgets add column maker text default 'm1' references makers")
    service.requeue([letter.id], "Ada")
    with line.consuming():
        eventually(lambda: waiting(line.state), "a waiting record")
        assert state_of(service, letter.id) == "requeued"
        assert [each.id for each in line.letters()] == [letter.id]
        line.execute("insert into makers values ('m1')")
        line.until({"g1": LONG})
        eventually(lambda: state_of(service, letter.id) == "landed", "the closed letter")


def _away(*_: object) -> None:
    raise TransientError("Kafka is gone")


def test_a_requeue_that_was_interrupted_goes_on_with_the_next(
    line: Line, service: DeadLetterService, monkeypatch: pytest.MonkeyPatch
) -> None:
    (letter,) = refuse(line, "g1")
    monkeypatch.setattr(service._sender, "requeue", _away)
    with pytest.raises(TransientError):
        service.requeue(ALL, "Ada")
    assert state_of(service, letter.id) == "requeueing"
    monkeypatch.undo()
    assert service.requeue(ALL, "Ada").ids == (letter.id,)
    assert state_of(service, letter.id) == "requeued"


def test_a_newer_state_supersedes_the_letter_and_the_letter_says_which(line: Line, service: DeadLetterService) -> None:
    (letter,) = refuse(line, "g1")
    with line.consuming():
        line.publish([("g1", 5, named("short"))])
        line.until({"g1": "short"})
        eventually(lambda: state_of(service, letter.id) == "superseded", "the superseded letter")
    found = service.letters.get(letter.id)
    assert found is not None
    assert found.superseded_by == 5


def test_a_requeue_that_meets_a_newer_state_in_its_batch_is_superseded(line: Line, service: DeadLetterService) -> None:
    (letter,) = refuse(line, "g1")
    service.requeue([letter.id], "Ada")
    line.publish([("g1", 2, named("short"))])
    with line.consuming():
        line.until({"g1": "short"})
        eventually(lambda: state_of(service, letter.id) in ("landed", "superseded"), "the closed letter")
    assert line.rows() == {"g1": "short"}


def test_a_letter_sent_back_twice_and_refused_again_stays_open(line: Line, service: DeadLetterService) -> None:
    (letter,) = refuse(line, "g1")
    for who in ("Ada", "Bo"):  # both copies wait when the consumer comes back
        assert service.requeue([letter.id], who).ids == (letter.id,)
    with line.consuming():
        line.publish([("g2", 1, named("short"))])
        line.until({"g2": "short"})
        eventually(lambda: state_of(service, letter.id) != "requeued", "an answer to what was sent back")
    assert state_of(service, letter.id) == "open"
    assert [(each.id, each.attempts) for each in line.letters()] == [(letter.id, 2)]
    line.execute("alter table gadgets drop constraint short_name")
    service.requeue([letter.id], "Ada")
    with line.consuming():
        line.until({"g1": LONG, "g2": "short"})
        eventually(lambda: state_of(service, letter.id) == "landed", "the closed letter")


def test_an_edited_letter_lands_as_it_was_edited(line: Line, service: DeadLetterService, state: State) -> None:
    (letter,) = refuse(line, "g1")
    assert [error.path for error in service.edit(letter.id, {"name": " ", "colour": "red"}, "Ada")] == [
        "name",
        "colour",
    ]
    assert [error.path for error in service.edit(letter.id, {"name": LONG}, "Ada")] == [""]
    assert state_of(service, letter.id) == "open", "what is wrong changes nothing"
    assert service.edit(letter.id, {"name": "mended", "lines[0].sku": "S1", "lines[0].quantity": "2"}, "Ada") == []
    with line.consuming():
        line.until({"g1": "mended"})
        eventually(lambda: state_of(service, letter.id) == "landed", "the closed letter")
    assert line.connection.execute("select sorbus_version from gadgets").fetchall() == [(1,)], "the event's own version"
    (entry,) = AuditTrail(state).page(filter=AuditFilter(subject=letter.id, who="Ada"))
    assert (entry.action, entry.details) == ("edit", {"fields": ["name", "lines[0]"]})
    assert state.run(b"select fields, frame from letter_edit") == [(["name", "lines[0]"], None)]


@pytest.mark.parametrize("is_refused", [True, False])
def test_an_edited_letter_lands_though_its_event_is_delivered_once_more(
    line: Line, post: Post, service: DeadLetterService, is_refused: bool
) -> None:
    """The consumer was killed between writing the letter and committing its event's offset."""
    if is_refused:
        line.execute(RESTRICTED)
    line.write("g7", *line.writer.event("g7", 7, named(LONG)), partition=0)
    line.flush()
    letter = replace(post.letter(7, record=named(LONG)), partition=0, offset=0, id=f"{FLOW}:{line.topic}:0:0")
    post.write([letter])
    assert service.edit(letter.id, {"name": "edited"}, "Ada") == []
    with line.consuming():
        line.until({"g7": "edited"})
        eventually(lambda: not line.letters(), "the closed letter")


def test_an_edit_that_was_interrupted_is_what_the_next_requeue_sends(
    line: Line, service: DeadLetterService, monkeypatch: pytest.MonkeyPatch
) -> None:
    (letter,) = refuse(line, "g1")
    monkeypatch.setattr(service._sender, "requeue", _away)
    with pytest.raises(TransientError):
        service.edit(letter.id, {"name": "edited"}, "Ada")
    monkeypatch.undo()
    service.index.rebuild()
    service.requeue(ALL, "Bo")
    with line.consuming():
        line.until({"g1": "edited"})


def test_an_edit_in_vain_keeps_what_the_record_was(line: Line, service: DeadLetterService, state: State) -> None:
    (letter,) = refuse(line, "g1")
    service.edit(letter.id, {"name": "still far too long for it"}, "Ada")
    with line.consuming():
        eventually(lambda: (found := line.letters()) and found[0].attempts == 2, "the second refusal")
    assert state_of(service, letter.id) == "open"
    assert state.run(b"select frame from letter_edit") == [(letter.value,)]
    found = service.letters.get(letter.id)
    assert found is not None
    assert found.is_edited
    assert found.dead.value != letter.value


def test_what_has_no_record_can_not_be_edited(line: Line, service: DeadLetterService) -> None:
    with line.consuming():
        line.write("g3", b"\x07garbage")
        line.flush()
        (letter,) = line.until_letters(1)
    with pytest.raises(SorbusError, match="0x07"):
        service.edit(letter.id, {"name": "x"}, "Ada")
    (foreseen,) = service.dry_run(ALL)
    assert (foreseen.action, "0x07" in foreseen.why) == ("refuse", True)


def test_a_discarded_letter_is_closed_and_its_reason_is_kept(
    line: Line, service: DeadLetterService, state: State
) -> None:
    first, second = refuse(line, "g1", "g2")
    with pytest.raises(SorbusError, match="say why"):
        service.discard([first.id], "Ada", " ")
    assert service.discard([first.id], "Ada", "a test") == Discarded(1, 0)
    assert [letter.id for letter in line.letters()] == [second.id], "the topic says so too"
    assert state_of(service, first.id) == "discarded"
    (entry,) = AuditTrail(state).page()
    assert (entry.action, entry.reason) == ("discard", "a test")


def test_what_is_on_its_way_is_neither_discarded_nor_edited(line: Line, service: DeadLetterService) -> None:
    first, second = refuse(line, "g1", "g2")
    assert service.edit(first.id, {"name": "mended"}, "Ada") == []
    with pytest.raises(SorbusError, match="on its way"):
        service.edit(first.id, {"name": "better"}, "Bo")
    assert service.discard([first.id, second.id], "Bo", "a test") == Discarded(1, 1)
    assert service.discard(LetterFilter(state="requeued"), "Bo", "a test") == Discarded(0, 1)
    assert (state_of(service, first.id), state_of(service, second.id)) == ("requeued", "discarded")
    with line.consuming():
        line.until({"g1": "mended"})
        eventually(lambda: state_of(service, first.id) == "landed", "the closed letter")


def test_a_record_with_a_long_id_is_a_letter_like_others(line: Line, service: DeadLetterService, state: State) -> None:
    long = os.urandom(3000).hex()
    with line.consuming():
        line.publish([(long, 1, named("long")), ("g2", 1, named("short"))])
        line.until({"g2": "short"})
        (letter,) = line.until_letters(1)
    assert letter.record_id.decode() == long
    assert state_of(service, letter.id) == "open"
    assert [each.id for each in service.letters.page(LetterFilter(record=long))] == [letter.id]
    assert service.requeue([letter.id], "Ada").ids == (letter.id,)
    line.publish([("g3", 1, named("short"))])
    with line.consuming():
        line.until({"g2": "short", "g3": "short"})
        eventually(lambda: state_of(service, letter.id) == "open", "the letter once more")
    assert service.discard([letter.id], "Ada", "nobody needs it") == Discarded(1, 0)
    trail = AuditTrail(state).page(filter=AuditFilter(data_type="gadget", record=long))
    assert [entry.action for entry in trail] == ["discard", "requeue"]


def test_what_was_closed_meanwhile_is_not_sent_back(post: Post, service: DeadLetterService, state: State) -> None:
    closed, left = post.letter(1), post.letter(2)
    post.write([closed, left])
    service.index.catch_up()
    post.close(closed, "superseded", by=9)
    service.index.catch_up()
    send_back(service._sender, state, [closed, left])
    assert (state_of(service, closed.id), state_of(service, left.id)) == ("superseded", "requeued")


@pytest.mark.parametrize("chosen", ["all", "closed", "landed", "superseded", "discarded"])
@pytest.mark.parametrize("deed", ["requeue", "discard", "assign"])
def test_what_a_filter_finds_closed_stays_closed(
    line: Line, post: Post, service: DeadLetterService, state: State, chosen: States, deed: str
) -> None:
    letters = [post.letter(number) for number in range(1, 5)]
    post.write(letters)
    for letter, how in zip(letters, ("requeued", "superseded", "discarded"), strict=False):
        post.close(letter, how)
    service.index.catch_up()
    before = len(AuditTrail(state).page())

    def do(filter: LetterFilter) -> object:
        match deed:
            case "requeue":
                return service.requeue(filter, "Ada").ids
            case "discard":
                return service.discard(filter, "Ada", "a test")
            case _:
                return service.assign(filter, "Bo", "Ada")

    if chosen == "all":
        wanted = {"requeue": (letters[3].id,), "discard": Discarded(1, 0), "assign": 1}
        assert do(LetterFilter(state=chosen)) == wanted[deed]
        assert AuditTrail(state).page()[0].subject == letters[3].id
    else:
        with pytest.raises(SorbusError, match="are closed"):
            do(LetterFilter(state=chosen))
        assert len(AuditTrail(state).page()) == before
    assert [state_of(service, each.id) for each in letters[:3]] == ["landed", "superseded", "discarded"]


def test_many_are_one_entry_with_a_part_for_each(
    post: Post, service: DeadLetterService, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sorbus.dlq.service.CHUNK", 7)
    post.write(post.letter(number, reason=f"R{number % 2}") for number in range(1, 41))
    odd = LetterFilter(reason="R1")
    assert service.assign(odd, "Bo", "Ada") == 20
    assert service.letters.count(LetterFilter(assigned_to="Bo")) == 20
    assert len(service.requeue(LetterFilter(reason="R0"), "Ada").ids) == 20
    assert service.discard(ALL, "Ada", "old") == Discarded(20, 20)
    service.assign([post.letter(2).id], "", "Ada")
    told = [(entry.action, entry.subject_kind, entry.details.get("count")) for entry in AuditTrail(state).page()]
    assert told == [
        ("assign", "letter", None),
        ("discard", "letters", 20),
        ("requeue", "letters", 20),
        ("assign", "letters", 20),
    ]
    parts = AuditTrail(state).page(filter=AuditFilter(subject=post.letter(1).id))
    assert [entry.action for entry in parts] == ["discard", "assign"]


def test_a_rate_is_kept(post: Post, service: DeadLetterService) -> None:
    post.write(post.letter(number) for number in range(1, 31))
    service.index.catch_up()
    began = time.monotonic()
    told: list[int] = []
    assert len(service.requeue(ALL, "Ada", rate=20, progress=told.append).ids) == 30
    assert time.monotonic() - began >= 1.4
    assert sum(told) == 30


def test_a_dry_run_says_what_would_happen_and_changes_nothing(line: Line, service: DeadLetterService) -> None:
    first, second = refuse(line, "g1", "g2")
    (one, other) = service.dry_run(ALL)
    assert {one.letter.id, other.letter.id} == {first.id, second.id}
    assert {one.action, other.action} == {"refuse"}
    assert "short_name" in one.why
    line.execute("alter table gadgets drop constraint short_name")
    line.execute("insert into gadgets (id, name, sorbus_version) values ('g2', 'newer', 9)")
    assert {found.letter.record: found.action for found in service.dry_run([first.id, second.id])} == {
        "g1": "create",
        "g2": "older",
    }
    assert {letter.state for letter in service.letters.page(ALL)} == {"open"}
    assert line.rows() == {"g2": "newer"}


def test_the_difference_to_the_target_is_shown_field_by_field(line: Line, service: DeadLetterService) -> None:
    with line.consuming():
        line.publish([("g1", 1, named("short")), ("g2", 1, named("fine"))])
        line.until({"g1": "short", "g2": "fine"})
        line.execute(RESTRICTED)
        line.publish([("g1", 2, named(LONG)), ("g3", 1, named(LONG))])
        letters = {letter.record_id: letter.id for letter in line.until_letters(2)}
    found = service.difference(letters[b"g1"])
    assert found is not None
    by_field = {one.field: one for one in found}
    assert (by_field["name"].now, by_field["name"].letter, by_field["name"].differs) == ("short", LONG, True)
    assert not any(one.differs for name, one in by_field.items() if name != "name"), found
    assert service.difference(letters[b"g3"]) is None


def test_a_target_out_of_reach_is_said_and_not_guessed(
    line: Line, service: DeadLetterService, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(line, "g1")
    monkeypatch.setenv("BOOKS_DSN", "postgresql://127.0.0.1:1/none")
    (foreseen,) = DeadLetterService(line.loaded, line.settings, line.state).dry_run(ALL)
    assert foreseen.action == "unknown"
    assert FLOW in foreseen.letter.dead.flow


def test_source_letters_are_asked_for_again(post: Post, service: DeadLetterService) -> None:
    letter = replace(post.letter(1), flow="", system="crm", id="crm:gadget:g1", value=b'{"id": "g1"}')
    post.write([letter])
    (foreseen,) = service.dry_run(ALL)
    assert foreseen.action == "reread"
    assert service.requeue(ALL, "Ada").reread == {"crm": 1}
    with pytest.raises(SorbusError, match="fix it there"):
        service.edit(letter.id, {"name": "x"}, "Ada")
    post.close(letter, "superseded", by=4)
    assert state_of(service, letter.id) == "landed"
