"""`sorbus reconcile` and `sorbus plan` of a flow into an application: what people changed there is found."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import chdir
from typing import Any

import pytest
import stamina
from starlette.responses import JSONResponse, Response

from sorbus.conflict.store import Conflicts, Contest
from sorbus.identity.crosswalk import Crosswalk
from tests.commands import type_command
from tests.consumers.gadgets import gadget
from tests.consumers.http.test_line import HttpLine, make_http_line
from tests.consumers.line import FLOW, eventually
from tests.http_api.short_lists import CUTS, SIZE, short_pages

__all__ = ["make_http_line"]
Found = dict[str, Any]


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
        assert found["not_compared"] == ["1 records of books that Sorbus has neither made nor linked"]
        plan = json.loads(line.sorbus("plan", FLOW, "--json"))
        assert {action: count for action, count in plan["counts"].items() if count} == {
            "nothing": 10,
            "update": 1,
            "create": 1,
        }
        assert [one.method for one in line.faulty.asked if one.method != "GET"] == []


def _reconcile(line: HttpLine, *words: str) -> Found:
    """What it tells; exit status 1 where, and only where, something differs."""
    with chdir(line.folder), stamina.set_testing(True, attempts=2):  # no pauses between tries
        done = type_command("reconcile", FLOW, "--json", *words, env=line.env)
    assert done.stdout.startswith("{"), f"{done.output}\n{done.exception!r}"
    found: Found = json.loads(done.stdout.splitlines()[0])
    assert done.exit_code == (1 if found["differences"] or found["undecided"] else 0)
    return found


def _kinds(found: Found) -> dict[str, str]:
    return {one["id"]: one["kind"] for one in found["differences"]}


def _delivered(line: HttpLine, count: int) -> dict[str, str]:
    """Delivers so many gadgets; their names and external ids."""
    names = {f"n{number}": f"g{number}" for number in range(count)}
    line.publish([(id, 1, gadget(name, note="Oslo", lines=[])) for name, id in names.items()])
    line.until_there(set(names))
    links = Crosswalk(line.state, "books", "gadget", "contacts")
    eventually(lambda: len(links.external_of(list(names.values()))) == count, "links of all records")
    return links.external_of(list(names.values()))


def _change_map(line: HttpLine, **reconcile: object) -> None:
    """The flow's `reconcile:`."""
    file, flow = line.folder / "map.yaml", "target: {resource: contacts}"
    file.write_text(file.read_text().replace(flow, f"{flow}, reconcile: {json.dumps(reconcile)}"))


_FEW, _ALL = ("a page fails", "the total disagrees"), tuple(CUTS)


@pytest.mark.parametrize("cuts", [_FEW, pytest.param(_ALL, marks=pytest.mark.slow)])
def test_extra_records_come_from_a_whole_list_alone(
    make_http_line: Callable[..., HttpLine], cuts: Sequence[str]
) -> None:
    line = make_http_line()
    line.faulty.describe(line.folder, resources=short_pages())
    with line.delivering():
        externals = _delivered(line, 24)
        links = Crosswalk(line.state, "books", "gadget", "contacts")
        links.link("was deleted", line.faulty.add(name="ours"), 1, {})  # its delete is compacted away
        links.link("came back", line.faulty.add(name="restored"), 1, {})
        links.gone("came back", 2)
        line.faulty.add(name="theirs")
        found = _reconcile(line)
        assert _kinds(found) == {"was deleted": "extra", "came back": "extra"}
        assert found["not_compared"] == ["1 records of books that Sorbus has neither made nor linked"]
        for cut in cuts:
            CUTS[cut](line.faulty)
            found = _reconcile(line)
            assert (found["counts"], found["method"], found["compared"]) == ({}, "list", 24), cut
            [short] = [one for one in found["not_compared"] if "isn't whole" in one]
            assert "records that only books has" in short
        assert line.sorbus("reconcile", FLOW).splitlines()[0].endswith("no difference found")
        # A list that hides one consistently is found out by the record itself.
        hidden = externals["g7"]

        def without(method: str, path: str, parameters: dict[str, str]) -> Response | None:
            if method != "GET" or path != "/contacts":
                return None
            shown = [one for id, one in line.faulty.contacts().items() if id != hidden]
            part = shown[(int(parameters.get("page", "1")) - 1) * SIZE :][:SIZE]
            return JSONResponse({"contacts": part, "total": len(shown)})

        line.faulty.raw = without
        found = _reconcile(line)
        assert any(f"lacks 1 record that can be read alone, such as {hidden}" in one for one in found["not_compared"])
        line.faulty.raw = None
        assert _kinds(_reconcile(line)) == {"was deleted": "extra", "came back": "extra"}
    assert [one.by for one in line.faulty.writes if one.did != "create"] == []


def test_records_without_addresses_are_compared_by_their_list(make_http_line: Callable[..., HttpLine]) -> None:
    line = make_http_line()
    with line.delivering():
        externals = _delivered(line, 24)
        resources = short_pages()
        resources["contacts"]["get"] = None
        line.faulty.describe(line.folder, resources=resources, webhooks=None)
        assert _reconcile(line)["counts"] == {}
        line.faulty.change(externals["g3"], city="by hand")
        line.faulty.remove(externals["g4"])
        assert _kinds(_reconcile(line)) == {"g3": "different", "g4": "missing"}
        CUTS["the server has a maximum"](line.faulty)
        found = _reconcile(line)
        shown = {id for id, external in externals.items() if int(external) <= SIZE + 1}
        assert {id: kind for id, kind in _kinds(found).items() if id not in shown} == {
            id: "unread" for id in externals if id not in shown
        }
        assert all("not whole" in one["why"] for one in found["differences"] if one["kind"] == "unread")


def test_a_record_that_cannot_be_read_agrees_with_nothing(make_http_line: Callable[..., HttpLine]) -> None:
    line = make_http_line()
    answers: dict[str, Response] = {
        "403": JSONResponse({"message": "not for you"}, 403),
        "404": JSONResponse({"message": "no such contact"}, 404),
        "429": JSONResponse({"message": "slow down"}, 429, {"retry-after": "0"}),
        "500": JSONResponse({"message": "boom"}, 500),
        "no JSON": Response("<html>", 200, media_type="text/html"),
        "no record": JSONResponse({"contact": [1]}),
        "other values": JSONResponse({"contact": {"name": 7, "city": {"x": []}, "our_id": "g6"}}),
    }
    with line.delivering():
        externals = _delivered(line, 20)
        other = {"id": int(externals["g19"]), "name": "n19", "city": "Oslo", "our_id": "g19"}
        answers["another record"] = JSONResponse({"contact": other})
        resources = short_pages()
        resources["contacts"]["list"] = None
        line.faulty.describe(line.folder, resources=resources)
        wrong = dict(zip((externals[f"g{number}"] for number in range(len(answers))), answers.items(), strict=True))
        line.faulty.raw = lambda method, path, parameters: (
            wrong[path.rpartition("/")[2]][1] if method == "GET" and path.rpartition("/")[2] in wrong else None
        )
        _change_map(line, requests_a_day=1000)
        found = _reconcile(line)
        kinds = {kind: _kinds(found)[f"g{number}"] for number, kind in enumerate(answers)}
        assert kinds == dict.fromkeys(answers, "unread") | {
            "404": "missing",
            "other values": "different",
            "another record": "stale",
        }
        assert found["compared"] == 20
        assert all(one["why"] for one in found["differences"] if one["kind"] == "unread")
        left = _reconcile(line, "--heal", "--dry-run")["heal"]["left"]
        assert len(left) == 5
        assert all("can't be read there" in one["why"] for one in left)
        line.faulty.raw = None
        line.state.run(b"delete from breaker")
        assert _reconcile(line)["counts"] == {}
        assert json.loads(f"[{','.join(line.sorbus('reconcile', FLOW, '--stored', '--json').splitlines())}]") == []


@pytest.mark.parametrize(
    ("mark", "why"),
    [("write_only", "the application shows it in no answer"), ("once", "the application takes it only at creation")],
)
def test_a_field_that_cannot_be_compared_is_no_agreement(
    make_http_line: Callable[..., HttpLine], mark: str, why: str
) -> None:
    line = make_http_line()
    file = line.folder / "faulty.yaml"
    described = json.loads(file.read_text())
    described["resources"]["contacts"]["fields"].setdefault("city", {})[mark] = True
    file.write_text(json.dumps(described))
    with line.delivering():
        externals = _delivered(line, 2)
        line.faulty.change(externals["g1"], city="by hand")
        found = _reconcile(line)
        assert (found["counts"], found["not_compared"]) == ({}, [f"field city: {why}"])
        assert line.sorbus("reconcile", FLOW).splitlines()[0].endswith("no difference found")


def test_what_people_keep_as_the_application_has_it_is_no_agreement(make_http_line: Callable[..., HttpLine]) -> None:
    line = make_http_line()
    with line.delivering():
        externals = _delivered(line, 2)
        line.faulty.change(externals["g1"], city="by hand")
        conflicts = Conflicts(line.state, "books", "gadget", "contacts")
        contest = Contest("city", "Oslo", "by hand", "Oslo")
        (number,) = conflicts.put("g1", 1, FLOW, externals["g1"], [contest], asks=True)
        conflicts.decide(number, "keep", who="Sales", reason="")
        found = _reconcile(line)
    assert found["counts"] == {}
    assert found["not_compared"] == [
        "fields of 1 record that people keep as books has them: sorbus conflicts list --state decided"
    ]


def test_a_rolling_sample_keeps_to_its_budget_and_looks_at_all_in_turn(make_http_line: Callable[..., HttpLine]) -> None:
    line = make_http_line()
    with line.delivering():
        externals = _delivered(line, 25)
        resources = short_pages()
        resources["contacts"]["list"] = None
        line.faulty.describe(line.folder, resources=resources)
        _change_map(line, requests_a_day=10)
        line.faulty.change(externals["g3"], city="by hand")
        line.faulty.remove(externals["g4"])
        kinds: dict[str, str] = {}
        seen: list[str] = []
        for day in range(4):
            line.faulty.asked.clear()
            for found in (_reconcile(line), _reconcile(line)):
                kinds |= _kinds(found)
                assert found["method"] == "sample"
                assert found["compared"] <= 9
            asked = [one.path.rpartition("/")[2] for one in line.faulty.asked]
            assert len(asked) <= 10
            seen += [id for id, external in externals.items() if external in asked]
            coverage = found["coverage"]
            assert (coverage["records"], coverage["days"]) == (25, 3)
            # The last one of a day may differ, without a request left to be sure.
            assert len(set(seen)) - 1 <= coverage["looked_at"] <= len(set(seen))
            if day == 0:
                told = line.sorbus("reconcile", FLOW, status=bool(kinds))
                assert f"looked at {coverage['looked_at']} of 25 records" in told
                assert "today's 10 requests of flow gadget-to-books are used up" in told
                assert len(line.faulty.asked) == len(asked)
            line.state.run(b"update reconcile_requests set day = day - 1")
        assert coverage["looked_at"] == 25
        assert kinds == {"g3": "different", "g4": "missing"}
        assert _reconcile(line, "--all")["compared"] == 25
