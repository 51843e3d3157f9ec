"""Whatever comes, in whatever order and however often, and whoever is restarted: the directory ends as the owner is."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sorbus.connector import Delivery
from sorbus.errors import MustWait
from tests.consumers.ldap.conftest import MakeStaff
from tests.consumers.ldap.staff import Staff, texts

IDS = ("a", "b", "c", "d")
STEP = st.tuples(
    st.sampled_from(["put", "put", "put", "delete", "repeat", "older", "restart"]),
    st.sampled_from(IDS),
    st.integers(0, 5),
    st.sampled_from([None, *IDS]),
)


class Owner:
    """A ledger of what the owner holds, whose user names are unique as an owner's are."""

    def __init__(self, staff: Staff, round: int) -> None:
        self.staff, self.round = staff, round
        self.now: dict[str, dict[str, object] | None] = {}
        self.history: list[Delivery] = []
        self.newest: dict[str, Delivery] = {}

    def put(self, id: str, number: int, manager: str | None) -> Delivery | None:
        user = f"r{self.round}u{number}"
        holders = {each for each, one in self.now.items() if one is not None and one["user"] == user}
        if holders - {id}:
            return None
        is_there = manager is not None and self.now.get(manager) is not None and manager != id
        record: dict[str, object] = {
            "name": f"N {number}, {id}",
            "user": user,
            "number": f"r{self.round}{id}",
            "title": f"t{number}" if number % 2 else None,
            "manager_id": f"r{self.round}{manager}" if is_there else None,
        }
        return self._next(id, record)

    def delete(self, id: str) -> Delivery | None:
        if self.now.get(id) is None:
            return None
        for each, one in list(self.now.items()):  # an owner lets nobody refer to who has gone
            if one is not None and one["manager_id"] == f"r{self.round}{id}":
                self._next(each, {**one, "manager_id": None})
        return self._next(id, None)

    def _next(self, id: str, record: dict[str, object] | None) -> Delivery:
        self.now[id] = record
        made = self.newest[id] = self.staff.event(f"r{self.round}{id}", record)
        self.history.append(made)
        return made


@pytest.mark.slow
def test_any_history_ends_as_the_owner_is(make_staff: MakeStaff) -> None:
    rounds = iter(range(10_000))
    staff = make_staff(match=("number",))

    @settings(max_examples=15, suppress_health_check=list(HealthCheck))
    @given(st.lists(STEP, min_size=3, max_size=14))
    def check(steps: list[tuple[str, str, int, str | None]]) -> None:
        owner = Owner(staff, next(rounds))
        for what, id, number, manager in steps:
            event = owner.put(id, number, manager) if what == "put" else None
            if what == "delete":
                event = owner.delete(id)
            elif what in ("repeat", "older") and owner.history:
                event = owner.history[-1 if what == "repeat" else number % len(owner.history)]
            elif what == "restart":
                staff.close()
            if event is not None:
                staff.deliver(event)
        waiting = list(owner.newest.values())
        for _ in range(len(IDS) + 2):  # what waits is tried again, as the loop does
            refused = staff.deliver(*waiting)
            assert all(isinstance(error, MustWait) for error in refused.values()), refused
            waiting = [one for one in waiting if one.id.decode() in refused]
        _compare(staff, owner, {one.id.decode() for one in waiting})

    check()


def _compare(staff: Staff, owner: Owner, waiting: set[str]) -> None:
    prefix = f"r{owner.round}"
    found = {
        texts(entry, "employeeNumber")[0]: (dn, entry)
        for dn, entry in staff.entries().items()
        if texts(entry, "employeeNumber")[0].startswith(prefix)
        and texts(entry, "employeeNumber")[0].removeprefix(prefix) in IDS
    }
    numbers = {dn: number for number, (dn, _) in found.items()}
    for id in IDS:
        key, wanted = f"{prefix}{id}", owner.now.get(id)
        if key in waiting:  # two that exchange their names wait for each other, and are then dead letters
            continue
        if wanted is None:
            assert key not in found
            continue
        dn, entry = found[key]
        assert dn.startswith(f"uid={wanted['user']},")
        assert texts(entry, "cn") == [wanted["name"]]
        assert texts(entry, "title") == ([wanted["title"]] if wanted["title"] else [])
        assert [numbers[one] for one in texts(entry, "manager")] == (
            [wanted["manager_id"]] if wanted["manager_id"] else []
        )
