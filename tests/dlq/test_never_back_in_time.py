"""Requeues while newer versions arrive, cut off in the middle: the target never goes back, and nothing is lost."""

from __future__ import annotations

import itertools
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sorbus.deadletter import DeadLetter
from sorbus.dlq.requeue import Sender
from sorbus.dlq.service import DeadLetterService
from sorbus.dlq.store import LetterFilter
from tests.consumers.line import RESTRICTED, SORBUS, Line, eventually, named

LONG = "a name that is too long for it"
WATCHED = """
create table seen (place bigint generated always as identity, id text, version bigint);
create function see() returns trigger language plpgsql as $$
begin insert into seen (id, version) values (new.id, new.sorbus_version); return null; end $$;
create trigger see after insert or update on gadgets for each row execute function see();
"""
BACK_IN_TIME = """
select id, version, before from (
    select id, version, lag(version) over (partition by id order by place) as before from seen
) s where version < before
"""
_example = itertools.count()


class Publish(NamedTuple):
    """A new version of a gadget, that the target takes or, while it is restricted, refuses."""

    gadget: int
    is_long: bool


class Requeue(NamedTuple):
    """All letters are sent back; dies after so many (None: it doesn't)."""

    dies_after: int | None


class Restrict(NamedTuple):
    """The target begins, or ceases, to refuse long names."""

    on: bool


Step = Publish | Requeue | Restrict
STEPS = st.lists(
    st.builds(Publish, st.integers(0, 2), st.booleans())
    | st.builds(Requeue, st.none() | st.integers(0, 3))
    | st.builds(Restrict, st.booleans()),
    min_size=4,
    max_size=16,
)
OFTEN = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
LONG_RUN = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


class Killed(Exception):
    """Stands for the end of the process."""


class Mortal(Sender):
    """A sender whose process dies after so many letters."""

    left: int | None = None

    def requeue(self, letters: object, done: Callable[[int], None] | None = None) -> None:
        """Sends as many as it lives to."""
        sent: list[DeadLetter] = list(letters)  # type: ignore[call-overload]
        if self.left is None or self.left >= len(sent):
            super().requeue(sent, done)
            return
        super().requeue(sent[: self.left], done)
        raise Killed


@pytest.fixture
def watched(line: Line) -> Iterator[Line]:
    """A line whose target remembers every version that it ever had, with its consumer at work."""
    line.execute(WATCHED)
    with line.consuming():
        yield line


def play(line: Line, steps: Sequence[Step]) -> None:
    """Does the steps on gadgets of their own, mends the target, and sends back until all has landed."""
    prefix = f"e{next(_example)}"
    service = DeadLetterService(line.loaded, line.settings, line.state)
    sender = service._sender = Mortal(line.settings, line.names)
    newest: dict[str, tuple[int, str]] = {}
    for number, step in enumerate(steps, 1):
        match step:
            case Publish(gadget, is_long):
                id, name = f"{prefix}-{gadget}", f"{LONG} {number}" if is_long else f"short {number}"
                newest[id] = number, name
                line.publish([(id, number, named(name))])
            case Requeue(dies_after):
                sender.left = dies_after
                try:
                    service.requeue(LetterFilter(), "Ada")
                except Killed:
                    continue
            case Restrict(on):
                line.execute("alter table gadgets drop constraint if exists short_name")
                if on:
                    line.execute(f"{RESTRICTED} not valid")
    line.execute("alter table gadgets drop constraint if exists short_name")
    sender.left = None

    def has_landed() -> bool:
        service.requeue(LetterFilter(), "Ada")
        return {id: line.rows().get(id) for id in newest} == {id: name for id, (_, name) in newest.items()}

    eventually(has_landed, f"the newest of {newest} in the target, which has {line.rows()}")
    eventually(lambda: not line.letters(), f"the end of letters {[letter.id for letter in line.letters()]}")
    service.index.catch_up()
    assert service.letters.count(LetterFilter()) == 0, "the index says what the topic says"
    service.index.close()
    assert line.connection.execute(BACK_IN_TIME.encode()).fetchall() == []


def test_a_requeue_beside_newer_versions_never_goes_back(watched: Line) -> None:
    @given(STEPS)
    @OFTEN
    def run(steps: list[Step]) -> None:
        play(watched, steps)

    run()


@pytest.mark.slow
def test_however_often_it_is_tried(watched: Line) -> None:
    @given(STEPS)
    @LONG_RUN
    def run(steps: list[Step]) -> None:
        play(watched, steps)

    run()


@pytest.mark.slow
def test_a_requeue_that_is_killed_is_ended_by_the_next(watched: Line) -> None:
    """The real command, killed by SIGKILL while newer versions of half of the records arrive."""
    line = watched
    ids = [f"k{number}" for number in range(300)]
    line.execute(RESTRICTED)
    line.publish([(id, 1, named(LONG)) for id in ids])
    line.until_letters(len(ids))
    line.execute("alter table gadgets drop constraint short_name")
    service = DeadLetterService(line.loaded, line.settings, line.state)
    for round in range(1, 4):
        command = [SORBUS, "dlq", "requeue", "--all", "--rate", "60"]
        popen = subprocess.Popen(command, env=line.env, cwd=line.folder, stdout=subprocess.DEVNULL)
        noted = _noted(line)
        eventually(lambda noted=noted: _noted(line) > noted, "a part of the requeue")  # type: ignore[misc]
        line.publish([(id, 1 + round, named(f"newer {round}")) for id in ids[:150]])
        popen.send_signal(signal.SIGKILL)
        assert popen.wait(10) == -signal.SIGKILL
    service.requeue(LetterFilter(), "Ada")
    line.until({id: "newer 3" if number < 150 else LONG for number, id in enumerate(ids)})
    eventually(lambda: not line.letters(), "no open letters")
    service.index.catch_up()
    assert service.letters.count(LetterFilter()) == 0
    assert line.connection.execute(BACK_IN_TIME.encode()).fetchall() == []


def _noted(line: Line) -> int:
    """How many letters the audit trail says were sent back."""
    [[count]] = line.state.run(b"select count(*) from audit where part_of is not null and action = 'requeue'")
    return int(str(count))
