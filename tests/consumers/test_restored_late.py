"""What lands later than its place on the topic says is delivered again to a target that was put back, too."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from sorbus.dlq.service import DeadLetterService
from sorbus.dlq.store import LetterFilter
from sorbus.ops.replay.run import ReplayRun
from sorbus.ops.replay.selection import Selection
from sorbus.waiting.store import waiting
from tests.consumers.line import FLOW, RESTRICTED, Line, eventually, named
from tests.consumers.test_target_progress import back_up, ends_of, noted, restore
from tests.topics import delete_messages

LONG = "a name that is too long for it"
REFERS = (
    "create table makers (name text primary key); insert into makers values ('known');"
    " alter table gadgets add foreign key (name) references makers"
)


def service(line: Line) -> DeadLetterService:
    return DeadLetterService(line.loaded, line.settings, line.state)


def wait(line: Line) -> None:
    """A record waits for another."""
    line.execute(REFERS)
    line.publish([("g1", 1, named("known", "a")), ("g2", 1, named("later", "b"))])
    eventually(lambda: len(waiting(line.state)) == 1, "a record that waits")


def wait_no_more(line: Line) -> None:
    line.execute("insert into makers values ('later')")
    eventually(lambda: not waiting(line.state), "an empty waiting room")


def be_refused(line: Line) -> None:
    """A record is a dead letter."""
    line.execute(RESTRICTED)
    line.publish([("g1", 1, named("known", "a")), ("g2", 1, named(LONG, "b"))])
    line.until_letters(1)


def be_sent_back(line: Line) -> None:
    line.execute("alter table gadgets drop constraint short_name")
    service(line).requeue(LetterFilter(), "Ada")
    line.until_letters(0)


def be_edited(line: Line) -> None:
    (letter,) = line.letters()
    found = service(line)
    found.index.catch_up()
    assert found.edit(letter.id, {"name": "short"}, "Ada") == []
    line.until_letters(0)


def be_replayed(line: Line) -> None:
    line.execute("alter table gadgets drop constraint short_name")
    ReplayRun(line.loaded, FLOW, "Ada").in_place(Selection(), lambda *_: None, without_deleted=True)
    line.until_letters(0)


def be_sent_back_and_wait(line: Line) -> None:
    line.execute(REFERS)
    line.execute("alter table gadgets drop constraint short_name")
    service(line).requeue(LetterFilter(), "Ada")
    eventually(lambda: len(waiting(line.state)) == 1, "a record that waits")
    line.execute(f"insert into makers values ('{LONG}')")
    line.until_letters(0)


Act = Callable[[Line], None]
LATE: dict[str, tuple[Act, Act, str]] = {
    "a record that waited": (wait, wait_no_more, "later"),
    "a letter that was sent back": (be_refused, be_sent_back, LONG),
    "a letter that was edited": (be_refused, be_edited, "short"),
    "a letter that was sent back and waited": (be_refused, be_sent_back_and_wait, LONG),
    "a letter that a replay closed": (be_refused, be_replayed, LONG),
}


def bring(line: Line, late: str) -> dict[str, str]:
    """Something lands late, after a backup; what the target has then."""
    begin, land, name = LATE[late]
    with line.consuming():
        begin(line)
        line.until({"g1": "known"})
        eventually(lambda: sorted(noted(line).values()) == sorted(ends_of(line)), "a note of all")
    back_up(line)
    with line.consuming():
        land(line)
        line.until({"g1": "known", "g2": name})
    return {"g1": "known", "g2": name}


@pytest.fixture
def here(line_with_state: Line, monkeypatch: pytest.MonkeyPatch) -> Line:
    """A flow, with all that a replay looks for in the environment."""
    for name in ("SORBUS_KAFKA", "SORBUS_REGISTRY"):
        monkeypatch.setenv(name, line_with_state.env[name])
    return line_with_state


@pytest.mark.parametrize("late", LATE)
def test_what_landed_late_since_a_backup_is_delivered_again(here: Line, late: str) -> None:
    expected = bring(here, late)
    for _ in range(2):
        restore(here)
        assert here.rows() == {"g1": "known"}
        with here.consuming():
            here.until(expected)
            assert here.letters() == []


@pytest.mark.parametrize("late", ["a record that waited", "a letter that was sent back"])
def test_what_landed_late_is_delivered_again_under_a_running_flow(here: Line, late: str) -> None:
    with here.consuming():
        expected = bring(here, late)
        restore(here)
        here.until(expected)


def test_what_waited_and_landed_is_not_written_again_in_a_target_that_nobody_touched(here: Line) -> None:
    bring(here, "a record that waited")
    here.execute("update gadgets set name = 'known' where id = 'g2'")
    with here.consuming():
        here.publish([("g3", 1, named("known"))])
        here.until({"g1": "known", "g2": "known", "g3": "known"})
    assert waiting(here.state) == []


def test_what_a_flow_can_not_read_again_is_said(here: Line, caplog: pytest.LogCaptureFixture) -> None:
    """The requeue topic keeps letters for a time only."""
    bring(here, "a letter that was sent back")
    delete_messages(here.settings, here.names.requeue(FLOW), (-1,))
    restore(here)
    with caplog.at_level(logging.ERROR), here.consuming() as running:
        eventually(lambda: "were removed" in running.health.notes().get("restored", ""), "what is missing")
        assert here.rows() == {"g1": "known"}
    assert f"sorbus replay {FLOW}" in caplog.text
