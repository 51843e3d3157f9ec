"""What a producer remembers of its source's shape: over restarts, without a state, and when a person has spoken."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from sorbus.drift.store import DriftFinding, DriftStore
from sorbus.drift.watch import DriftWatch
from sorbus.errors import SorbusError, TransientError
from sorbus.state import State
from sorbus.telemetry.metrics import DRIFT_OPEN

BEFORE = {"id": "integer", "phone": "text", "points": "integer"}
AFTER = {"id": "integer", "telephone": "text", "points": "text"}
MAPPED = {"phone": "phone = phone", "points": "points = points"}
MENDED = {"telephone": "phone = telephone", "points": "points = value | int"}


def eventually(is_so: Callable[[], bool], missing: str) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline, f"after 20 s still missing: {missing}"
        time.sleep(0.05)


def what(findings: list[DriftFinding]) -> set[tuple[str, str, str]]:
    return {(one.field, one.what, one.severity) for one in findings}


def test_a_change_while_nobody_looked_is_found_and_settles_itself_when_the_map_is_mended(state: State) -> None:
    store = DriftStore(state)
    watch = DriftWatch("crm", store)
    assert watch.saw("person", "people", BEFORE, MAPPED) == []
    watch.close()

    watch = DriftWatch("crm", store)
    assert {each.what for each in watch.saw("person", "people", AFTER, MAPPED)} == {"missing", "new", "retyped"}
    watch.held("person", "people", "points", "many", MAPPED)
    watch.close()
    found = store.findings("crm")
    assert what(found) == {("phone", "missing", "held"), ("telephone", "new", "info"), ("points", "retyped", "held")}
    assert {one.example for one in found if one.field == "points"} == {"many"}

    watch = DriftWatch("crm", store)
    assert watch.saw("person", "people", AFTER, MENDED) == []
    watch.close()
    assert store.findings("crm") == []
    assert store.shapes("crm") == {"people": AFTER}
    assert {one.settled_by for one in store.findings("crm", settled=True)} == {"sorbus"}


@pytest.mark.parametrize("seen_before", [False, True])
def test_a_renamed_field_is_no_finding_once_the_map_reads_its_new_name(state: State, seen_before: bool) -> None:
    """Also where the change was seen before the map was fixed, and where nothing was read meanwhile, as of a sheet."""
    store, after = DriftStore(state), {"id": "integer", "telephone": "text", "points": "integer"}
    watch = DriftWatch("crm", store)
    watch.saw("person", "people", BEFORE, {"id": "id = id"})
    if seen_before:
        assert len(watch.saw("person", "people", after, {"id": "id = id"})) == 2
        eventually(lambda: len(store.findings()) == 2, "the findings")
    watch.close()
    watch = DriftWatch("crm", store)
    assert watch.saw("person", "people", after, MENDED) == []
    watch.close()
    assert store.findings() == []
    assert store.shapes("crm") == {"people": after}


def test_what_is_gone_and_mapped_stays_held_until_it_is_back(state: State) -> None:
    store = DriftStore(state)
    watch = DriftWatch("crm", store)
    watch.saw("person", "people", BEFORE, MAPPED)
    lacking = {name: kind for name, kind in BEFORE.items() if name != "phone"}
    watch.saw("person", "people", lacking, {**MAPPED, "phone": "phone = value | trim"})
    watch.saw("person", "people", lacking, MAPPED)
    eventually(lambda: what(store.findings()) == {("phone", "missing", "held")}, "the finding")
    watch.saw("person", "people", BEFORE, MAPPED)
    eventually(lambda: store.findings() == [], "the field is back")
    watch.close()


def test_a_person_settles_it_and_it_isnt_found_again(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sorbus.drift.watch._LOOK_EVERY", 1)
    store = DriftStore(state)
    watch = DriftWatch("crm", store)
    watch.saw("person", "people", BEFORE, {})
    watch.saw("person", "people", {**BEFORE, "tier": "text"}, {})
    eventually(lambda: len(store.findings()) == 1, "the finding")
    [found] = store.findings()
    store.settle(found.number, "Sales", "nobody needs it")
    with pytest.raises(SorbusError, match="no open drift finding"):
        store.settle(found.number, "Sales", "twice")
    eventually(lambda: DRIFT_OPEN.labels("crm", "person", "info")._value.get() == 0, "the producer knows")
    assert watch.saw("person", "people", {**BEFORE, "tier": "text"}, {}) == []
    watch.close()
    assert store.findings() == []


def test_without_its_state_capture_goes_on_at_once_and_the_metric_tells() -> None:
    watch = DriftWatch("away", DriftStore(State("postgresql://127.0.0.1:1/none")))
    began = time.monotonic()
    watch.saw("person", "people", BEFORE, MAPPED)
    watch.saw("person", "people", AFTER, MAPPED)
    watch.held("person", "people", "phone", "7", MAPPED)
    assert time.monotonic() - began < 0.5
    assert DRIFT_OPEN.labels("away", "person", "held")._value.get() == 1
    watch.close()


@pytest.mark.parametrize("odd", ["a\ud800b", "a\0b"])
@pytest.mark.parametrize("where", ["field", "example"])
def test_text_that_the_state_cannot_hold_keeps_no_other_finding_from_it(state: State, odd: str, where: str) -> None:
    """JSON holds zero bytes and halves of characters, in names too."""
    store, watch = DriftStore(state), DriftWatch("crm", DriftStore(state))
    for resource in ("people", "others"):
        watch.saw("person", resource, BEFORE, MAPPED)
    changed = {**BEFORE, "points": "text"}
    watch.saw("person", "people", changed | ({odd: "text"} if where == "field" else {}), MAPPED)
    watch.held("person", "people", "points", odd if where == "example" else "7", MAPPED)
    watch.saw("person", "others", changed, MAPPED)
    watch.close()
    found = {(one.resource, one.field): one.example for one in store.findings("crm")}
    written = odd.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    wanted = {("people", "points"): written if where == "example" else "7", ("others", "points"): ""}
    assert found == wanted | ({("people", written): ""} if where == "field" else {})
    watch = DriftWatch("crm", store)
    assert watch.saw("person", "people", changed | ({odd: "text"} if where == "field" else {}), MAPPED) == []
    watch.close()


@pytest.mark.parametrize("error", [TransientError("the state is away"), RuntimeError("unforeseen")])
def test_what_fails_while_findings_are_stored_is_said_and_tried_again(
    state: State, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    store = DriftStore(state)
    put, failed = store.put, threading.Event()

    def fail_once(values: dict[str, object]) -> int:
        if not failed.is_set():
            failed.set()
            raise error
        return put(values)

    monkeypatch.setattr(store, "put", fail_once)
    monkeypatch.setattr("sorbus.drift.watch._WRITE_EVERY", 0.05)
    watch = DriftWatch("crm", store)
    watch.saw("person", "people", BEFORE, MAPPED)
    watch.saw("person", "people", {**BEFORE, "points": "text"}, MAPPED)
    eventually(lambda: bool(store.findings("crm")), "the finding")
    watch.close()
    said = [one for one in caplog.records if "drift findings can't be stored" in one.getMessage()]
    assert [one.levelname for one in said] == ["WARNING" if isinstance(error, TransientError) else "ERROR"]
