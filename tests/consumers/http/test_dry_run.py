"""A dry run into an application says of each record what its delivery then does, and sends no writing request."""

from __future__ import annotations

import random

import pytest

from sorbus.connector import Delivery
from sorbus.dry_run import DryRunReads
from sorbus.errors import MustWait
from sorbus.identity.candidates import Candidates
from tests.consumers.http.house import ROWS, House, contact, event

_NAMES = ["Ada", "Bo", "Cy", "Di"]
_CITIES = [None, "Oslo", "Rome"]


def _said(house: House, deliveries: list[Delivery], **flow: object) -> dict[str, str]:
    consumer = house.opened(**flow)
    consumer.close()
    consumer.begin_dry_run(DryRunReads())
    shown = consumer.preview_all(deliveries)
    consumer.close()
    return {one.id.decode(): each.action for one, each in zip(deliveries, shown, strict=True)}


def _was(house: House, deliveries: list[Delivery], **flow: object) -> dict[str, str]:
    """What a delivery did, as the application's own log and the refusals tell."""
    consumer, was = house.opened(**flow), {}
    for one in deliveries:
        id = one.id.decode()
        begin, before = len(house.faulty.writes), house.link(id)
        done = house.deliver(consumer, one, again=True)
        after = house.link(id)
        did = [write.did for write in house.faulty.writes[begin:]]
        if 0 in done.refused:
            error = done.refused[0]
            questions = Candidates(house.state, house.system, "contact", house.resource).open()
            asked = error.reason == "conflict" or (id, one.version) in {(each.id, each.version) for each in questions}
            was[id] = "wait" if isinstance(error, MustWait) else "ask" if asked else "refuse"
        elif "create" in did:
            was[id] = "create"
        elif after and after.state == "linked" and (before is None or before.state != "linked"):
            was[id] = "link"
        else:
            was[id] = did[-1] if did else "nothing"
    return was


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 100))])
def test_a_dry_run_says_what_delivery_then_does(house: House, seed: int) -> None:
    chance = random.Random(seed)

    def record() -> dict[str, object]:
        name = chance.choice(_NAMES)
        tax = chance.choice([None, None, "12345678", "87654321"])
        return contact(f"{name} {chance.randrange(3)}", tax_number=tax, city=chance.choice(_CITIES))

    house.faulty.add_many([record() for _ in range(chance.randrange(8))])
    flow: dict[str, object] = {
        "on_duplicate": chance.choice(["ask", "ask", "link", "create"]),
        "on_conflict": chance.choice(["ask", "overwrite"]),
        "deletes": chance.choice(["hard", "ignore"]),
    }
    version = 0
    for _ in range(3):
        rules = {"city": chance.choice(["", "value | upper"]), "name": chance.choice(["", "value | truncate(4)"])}
        rows = [(field, into, rules.get(field, "")) for field, into, _ in ROWS]
        ids = chance.sample([f"c{number}" for number in range(10)], chance.randrange(1, 9))
        deliveries = [event(id, version := version + 1, None if chance.random() < 0.2 else record()) for id in ids]
        house.faulty.asked.clear()
        said = _said(house, deliveries, rows=rows, **flow)
        assert [one.method for one in house.faulty.asked if one.method != "GET"] == []
        assert said == _was(house, deliveries, rows=rows, **flow), (flow, rules)
        for external_id in list(house.faulty.contacts()):
            if chance.random() < 0.2:
                house.faulty.change(external_id, city="by hand")
            elif chance.random() < 0.05:
                house.faulty.remove(external_id)


def test_a_dry_run_leaves_the_state_as_it_was(house: House) -> None:
    house.faulty.add_many([{"name": "Ada", "email": "ada@example.test"}, {"name": "A.", "email": "ada@example.test"}])
    deliveries = [event("c1", 1, contact("Ada")), event("c2", 1, contact("Bo")), event("c3", 1, contact("Bo"))]
    assert _said(house, deliveries) == {"c1": "ask", "c2": "create", "c3": "ask"}
    assert [house.link(id) for id in ("c1", "c2", "c3")] == [None, None, None]
    with house.state.connection() as connection:
        statement = "select count(*) from duplicate_candidates where system = %s"
        assert connection.execute(statement, (house.system,)).fetchone() == (0,)
