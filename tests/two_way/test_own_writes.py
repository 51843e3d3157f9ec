"""Our writes into an application, as its producer knows them when Sorbus's database was restored to before."""

from __future__ import annotations

import pytest

from sorbus.state import State
from sorbus.two_way.own_writes import OwnWrites


def written(writes: OwnWrites, id: str, version: int) -> None:
    """One write and the state that followed it."""
    writes.open(id, f"d-{id}", version, {"name": "before"}, {"name": f"v{version}"})
    writes.close(id, f"d-{id}", version, [(version, {"name": f"v{version}"})], {})


@pytest.mark.parametrize("meanwhile", ["nothing", "a write"])
@pytest.mark.parametrize("backup", [0, 3])
def test_writes_after_a_restore_are_told_from_peoples_changes(state: State, backup: int, meanwhile: str) -> None:
    writes = OwnWrites(state, "desk", "customer")
    for version in range(1, backup + 1):
        written(writes, "C1", version)
    for table in ("own_write", "own_state", "own_write_count"):
        state.run(f"create table backup_{table} as table {table}".encode())
    for version in range(backup + 1, 8):
        written(writes, "C1", version)
    _, applied = writes.fresh(0, 100)
    for table in ("own_write", "own_state", "own_write_count"):
        state.run(f"delete from {table}".encode())
        state.run(f"insert into {table} table backup_{table}".encode())
    if meanwhile == "a write":  # before the producer has noticed
        written(writes, "C2", 8)
    assert writes.fresh(applied, 100) == ([], applied)
    found, later = writes.fresh(applied, 100)
    assert {(one.id, one.record) for one in found} == {
        *((("C1", None),) if backup else ()),
        *((("C2", None),) if meanwhile == "a write" else ()),
    }, "they are looked at: what they were is older than what is on the topic"
    written(writes, "C1", 9)
    assert writes.touched(["d-C1"], later) == {"d-C1"}
    ((state_of_it,), end) = writes.fresh(later, 100)
    assert (state_of_it.version, state_of_it.record) == (9, {"name": "v9"})
    assert writes.fresh(end, 100) == ([], end)
