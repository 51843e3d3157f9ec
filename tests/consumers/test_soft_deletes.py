"""Where deleted records stay in the target, they are as they were last, however their events come in batches."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from tests.consumers.gadgets import Record
from tests.consumers.line import Line, eventually, named

LONG = named("a name that is much too long")
HISTORIES: dict[str, list[Record | None]] = {
    "changed, gone": [named("first"), named("last"), None],
    "made, gone": [named("last"), None],
    "made, gone, made": [named("first"), None, named("last")],
    "made, gone, made, gone": [named("first"), None, named("last"), None],
    "changed often, gone": [*(named(f"n{n}") for n in range(9)), named("last"), None],
    "its lines changed, gone": [named("last", "a"), named("last", "a", "b"), None],
    "gone twice": [named("last"), None, None],
    "only gone": [None],
    "still there": [named("first"), named("last")],
}


@pytest.mark.parametrize("batch", [10_000, 1], ids=["one batch", "one event at a time"])
@pytest.mark.parametrize("tombstones", [True, False], ids=["with tombstones", "delete events alone"])
def test_a_deleted_row_holds_the_records_last_state(line: Line, batch: int, tombstones: bool) -> None:
    line.flow = replace(line.flow, flow=line.flow.flow.model_copy(update={"deletes": "soft"}))
    line.make_target()  # the column that marks deleted rows
    events = [(id, version, record) for id, history in HISTORIES.items() for version, record in enumerate(history, 1)]
    line.publish(sorted(events, key=lambda event: event[1]), tombstones=tombstones)
    last = {id: record for id, history in HISTORIES.items() if (record := _last(history)) is not None}
    ledger = {id: (str(record["name"]), HISTORIES[id][-1] is None) for id, record in last.items()}
    with line.consuming(batch=batch):
        eventually(lambda: _rows(line) == ledger, f"{ledger}, deleted or not, where the target has {_rows(line)}")
    counted = "select g.id, count(l.sku) from gadgets g left join gadget_lines l on l.parent_id = g.id group by g.id"
    assert dict(line.connection.execute(counted).fetchall()) == {
        id: len(cast("list[object]", record["lines"])) for id, record in last.items()
    }
    assert line.letters() == []


def test_a_last_state_that_the_target_refuses_does_not_hold_up_the_delete(line: Line) -> None:
    line.flow = replace(line.flow, flow=line.flow.flow.model_copy(update={"deletes": "soft"}))
    line.make_target()
    line.execute("alter table gadgets add constraint short_name check (length(name) < 20)")
    line.publish([("g1", 1, named("fits")), ("g1", 2, LONG), ("g1", 3, None), ("g2", 1, LONG), ("g2", 2, None)])
    line.publish([("g3", 1, named("neighbour"))])
    with line.consuming():
        eventually(lambda: _rows(line) == {"g3": ("neighbour", False)}, f"g3 alone, where there is {_rows(line)}")
        line.until_letters(0)  # what was refused is gone by now


def _last(history: list[Record | None]) -> Record | None:
    return next((record for record in reversed(history) if record is not None), None)


def _rows(line: Line) -> dict[str, tuple[str, bool]]:
    found = line.connection.execute("select id, name, sorbus_deleted_at is not null from gadgets").fetchall()
    return {str(id): (str(name), bool(gone)) for id, name, gone in found}


def test_a_record_that_comes_back_is_not_marked_once_deletes_are_hard(line: Line) -> None:
    soft = replace(line.flow, flow=line.flow.flow.model_copy(update={"deletes": "soft"}))
    hard, line.flow = line.flow, soft
    line.make_target()
    line.publish([("g1", 1, named("first")), ("g1", 2, None), ("g2", 1, named("other"))])
    with line.consuming():
        eventually(lambda: _rows(line) == {"g1": ("first", True), "g2": ("other", False)}, "a marked row")
    line.flow = hard
    with line.consuming():
        line.publish([("g1", 3, named("back"))])
        eventually(lambda: _rows(line) == {"g1": ("back", False), "g2": ("other", False)}, "a row without its mark")
