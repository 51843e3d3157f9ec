"""What a flow had deferred when Sorbus's database was restored to before: read again, and deferred or delivered."""

from __future__ import annotations

import pytest

from sorbus.consumers import deferrals
from sorbus.waiting.store import waiting
from tests.consumers.line import Line, eventually, named

REFERS = (
    "create table makers (name text primary key); insert into makers values ('known');"
    " alter table gadgets add foreign key (name) references makers"
)
TABLES = ("waiting", "deferral")


def back_up(line: Line) -> None:
    for table in TABLES:
        line.state.run(f"create table backup_{table} as table {table}".encode())


def restore(line: Line) -> None:
    with line.state.connection() as connection:
        for table in TABLES:
            connection.execute(f"delete from {table}".encode())
            connection.execute(f"insert into {table} table backup_{table}".encode())


def wait(line: Line, *ids: str) -> None:
    """These records wait for another one."""
    before = {one.id for one in waiting(line.state)}
    line.publish([(id, 1, named("later", "b")) for id in ids])
    eventually(lambda: {one.id for one in waiting(line.state)} == {*before, *ids}, "records that wait")


def arrives(line: Line, *ids: str) -> None:
    """What they wait for is there."""
    line.execute("insert into makers values ('later')")
    line.until({"g1": "known", **dict.fromkeys(ids, "later")})
    eventually(lambda: not waiting(line.state), "nothing that waits")
    assert line.letters() == []


@pytest.fixture
def here(line_with_state: Line) -> Line:
    line_with_state.execute(REFERS)
    line_with_state.publish([("g1", 1, named("known", "a"))])
    return line_with_state


@pytest.mark.parametrize("before", [(), ("g2", "g3")])
def test_a_flow_that_begins_reads_again_what_the_state_lacks(here: Line, before: tuple[str, ...]) -> None:
    with here.consuming():
        wait(here, *before)
        here.until({"g1": "known"})
        back_up(here)
        wait(here, "g4", "g5")
    restore(here)
    with here.consuming() as running:
        eventually(lambda: {one.id for one in waiting(here.state)} == {*before, "g4", "g5"}, "all that had waited")
        eventually(lambda: "have been read again" in running.health.notes().get("state restored", ""), "a note of it")
    with here.consuming() as running:
        arrives(here, *before, "g4", "g5")
        assert running.health.notes() == {}, "once is enough"


@pytest.mark.parametrize("notices", ["by looking", "when more is deferred"])
def test_a_flow_that_runs_notices_it(here: Line, monkeypatch: pytest.MonkeyPatch, notices: str) -> None:
    monkeypatch.setattr(deferrals, "LOOK", 0.2 if notices == "by looking" else 3600.0)
    with here.consuming() as running:
        here.until({"g1": "known"})
        back_up(here)
        wait(here, "g2", "g3", "g4")
        restore(here)
        if notices == "when more is deferred":
            here.publish([(f"h{n}", 1, named("later", "b")) for n in range(4)])
        more = [f"h{n}" for n in range(4)] if notices == "when more is deferred" else []
        eventually(lambda: {one.id for one in waiting(here.state)} == {"g2", "g3", "g4", *more}, "all that had waited")
        assert "earlier state" in running.health.notes()["state restored"]
        arrives(here, "g2", "g3", "g4", *more)


def test_a_flow_of_databases_does_not_wait_for_the_state(here: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    with here.consuming():
        here.until({"g1": "known"})
        wait(here, "g2")
    monkeypatch.setenv("SORBUS_DATABASE", "postgresql://127.0.0.1:1/nowhere")
    here.publish([("g1", 2, named("known", "c"))])
    with here.consuming():
        here.publish([("g9", 1, named("known", "a"))])
        here.until({"g1": "known", "g9": "known"})
