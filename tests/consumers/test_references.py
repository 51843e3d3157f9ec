"""Foreign keys of a PostgreSQL target: what refers to a record that hasn't come yet waits, and lands when it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sorbus.waiting.store import waiting
from tests.consumers.line import Line, eventually, named

REFERENCES: dict[str, tuple[str, Callable[[Line], None]]] = {
    "another table": (
        "create table makers (name text primary key); alter table gadgets add foreign key (name) references makers",
        lambda line: line.execute("insert into makers values ('n1'), ('n3')"),
    ),
    "another table, deferrable": (
        "create table makers (name text primary key); alter table gadgets add foreign key (name) references makers"
        " deferrable initially deferred",
        lambda line: line.execute("insert into makers values ('n1'), ('n3')"),
    ),
}


@pytest.mark.parametrize("kind", REFERENCES)
def test_what_refers_to_a_record_that_is_not_there_yet_waits_and_lands_when_it_is(
    line_with_state: Line, kind: str
) -> None:
    line = line_with_state
    rule, parents_come = REFERENCES[kind]
    line.execute(rule)
    with line.consuming():
        line.publish([("g1", 1, named("n1", "a")), ("g3", 1, named("n3"))])
        eventually(lambda: len(waiting(line.state)) == 2, "two records that wait")
        assert line.letters() == []
        line.publish([("g3", 2, named("n1"))])
        parents_come(line)
        line.until({"g1": "n1", "g3": "n1"})
        eventually(lambda: not waiting(line.state), "an empty waiting room")
    assert line.letters() == []


def test_a_delete_waits_while_others_still_refer_to_its_record(line_with_state: Line) -> None:
    line = line_with_state
    with line.consuming():
        line.publish([("g1", 1, named("used")), ("g2", 1, named("free"))])
        line.until({"g1": "used", "g2": "free"})
        line.execute("create table uses (gadget text references gadgets); insert into uses values ('g1')")
        line.publish([("g1", 2, None), ("g2", 2, None)])
        line.until({"g1": "used"})
        eventually(lambda: "others refer to it" in "".join(one.message for one in waiting(line.state)), "its reason")
        line.execute("delete from uses")
        line.until({})
    assert line.letters() == []


def test_what_never_comes_is_a_dead_letter_at_its_time(line_with_state: Line) -> None:
    line = line_with_state
    line.flow = replace(line.flow, flow=line.flow.flow.model_copy(update={"wait_limit": "2s"}))
    line.execute(REFERENCES["another table"][0])
    with line.consuming():
        line.publish([("g1", 1, named("nobody"))])
        (letter,) = line.until_letters(1)
        assert letter.reason == "ForeignKeyViolation"
        assert "is not present in table" in letter.words
        eventually(lambda: not waiting(line.state), "an empty waiting room")


def test_values_that_change_hands_over_two_batches_and_partitions_land(line_with_state: Line) -> None:
    line = line_with_state
    line.execute("alter table gadgets add unique (name)")
    with line.consuming(batch=1):
        line.publish([(f"g{n}", 1, named(f"n{n}")) for n in range(6)])
        line.until({f"g{n}": f"n{n}" for n in range(6)})
        line.publish([(f"g{n}", 2, named(f"n{(n + 1) % 6}")) for n in range(6)])
        line.until({f"g{n}": f"n{(n + 1) % 6}" for n in range(6)}, seconds=60)
        eventually(lambda: not waiting(line.state), "an empty waiting room")
    assert line.letters() == []
