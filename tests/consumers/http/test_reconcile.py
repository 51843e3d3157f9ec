"""`sorbus reconcile` and `sorbus plan` of a flow into an application: what people changed there is found."""

from __future__ import annotations

import json
from collections.abc import Callable

from sorbus.identity.crosswalk import Crosswalk
from tests.consumers.gadgets import gadget
from tests.consumers.http.test_line import HttpLine, make_http_line
from tests.consumers.line import FLOW, eventually

__all__ = ["make_http_line"]


def test_what_was_changed_in_the_application_is_found_by_its_list(make_http_line: Callable[..., HttpLine]) -> None:
    line = make_http_line()
    names = {f"n{number}": f"g{number}" for number in range(12)}
    with line.delivering():
        line.publish([(id, 1, gadget(name, note="Oslo", lines=[])) for name, id in names.items()])
        line.until_there(set(names))
        links = Crosswalk(line.state, "books", "gadget", "contacts")
        eventually(lambda: len(links.external_of(list(names.values()))) == len(names), "links of all records")
        line.faulty.asked.clear()
        found = json.loads(line.sorbus("reconcile", FLOW, "--json"))
        assert (found["counts"], found["compared"], found["method"]) == ({}, 12, "list")
        assert line.faulty.count(path="/contacts/") == 0, "records of the list were asked for alone"
        there = line.faulty.contacts("name")
        line.faulty.change(str(there["n3"]["id"]), city="by hand")
        line.faulty.remove(str(there["n4"]["id"]))
        line.faulty.add(name="theirs")
        line.faulty.asked.clear()
        told = line.sorbus("reconcile", FLOW, "--json", status=1)
        found = json.loads(told[told.index("{") :].splitlines()[0])
        assert found["counts"] == {"different": 1, "missing": 1}
        assert {one["id"]: one["kind"] for one in found["differences"]} == {"g3": "different", "g4": "missing"}
        assert any("only books has" in sentence for sentence in found["not_compared"])
        plan = json.loads(line.sorbus("plan", FLOW, "--json"))
        assert {action: count for action, count in plan["counts"].items() if count} == {
            "nothing": 10,
            "update": 1,
            "create": 1,
        }
        assert [one.method for one in line.faulty.asked if one.method != "GET"] == []
