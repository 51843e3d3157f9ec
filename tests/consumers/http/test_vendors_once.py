"""Into every described vendor, on its strict mock: each record once, though answers are lost and consumers killed."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sorbus.connector import BoundFlow, BoundSystem, Delivery
from sorbus.consumers.http import decide
from sorbus.consumers.http.consumer import HttpConsumer
from sorbus.consumers.http.options import HttpTarget
from sorbus.errors import TransientError, Unfinished
from sorbus.http_api.connection import HttpConnection
from sorbus.http_api.load import read_description
from sorbus.http_api.path import read_path
from sorbus.mapfile.model import DataType, FieldMapping, Flow, System
from sorbus.state.database import State
from tests.conftest import Report
from tests.consumers.http.house import CONTACT, contact, event
from tests.consumers.http.test_killed import zygote
from tests.http_api.test_vendors import VENDORS, base, sent
from tests.http_api.vendors.mock import VendorMock

FlowInto = Callable[[VendorMock], BoundFlow]
KILLS = 8
every_vendor = pytest.mark.parametrize("made", VENDORS, ids=lambda vendor: vendor.api)


@pytest.fixture
def flow_into(tmp_path: Path, unique: str) -> FlowInto:
    """A flow of contacts, matched by e-mail address, which is kept where the vendor's mock has its name."""

    def make(vendor: VendorMock) -> BoundFlow:
        about = read_description(vendor.api)[0].resources[vendor.resource]
        searches = {"settle": 0, **({"fields": {"fields.Note": {}}} if vendor.api == "microsoft-lists" else {})}
        extended: dict[str, Any] = {
            "extends": vendor.api,
            "limits": [],
            "resources": {vendor.resource: searches},
        }
        if "token" in vendor.connection:
            extended |= {"auth": {"kind": "bearer"}, "other_auth": []}
        (tmp_path / f"{vendor.api}.yaml").write_text(json.dumps(extended))
        connection = {"api": f"{vendor.api}.yaml", "base_url": base(vendor), **vendor.connection}
        rows = [("contact.email", vendor.name_field, ""), ("contact.city", vendor.note_field, "")]
        rows += [("", path, f'"{value}"') for path, value in vendor.more.items()]
        mapping = tuple(
            FieldMapping(
                source_system="canonical",
                source_field=source,
                target_system=unique,
                target_field=f"{vendor.resource}.{path}",
                rule=rule,
            )
            for source, path, rule in rows
        )
        deletes = "hard" if about.delete else "ignore"
        return BoundFlow(
            Flow.model_validate({"data_type": "contact", "to": unique, "deletes": deletes}),
            DataType(match=["email"]),
            CONTACT,
            mapping,
            HttpTarget.model_validate({"resource": vendor.resource}),
            BoundSystem(
                unique, System(kind="http", owner="Sales"), HttpConnection.model_validate(connection), folder=tmp_path
            ),
        )

    return make


def held(vendor: VendorMock) -> dict[str, object]:
    """Name -> note of what the application shows."""
    return {
        str(read_path(one, vendor.name_field)): read_path(one, vendor.note_field)
        for one in vendor.live(vendor.kind).values()
    }


def deliver(consumer: HttpConsumer, *events: Delivery) -> list[str]:
    """Applies until it is finished, as the loop does; the refusals."""
    for _ in range(60):
        try:
            return [str(refusal.error) for refusal in consumer.apply(events)]
        except (Unfinished, TransientError):
            continue
    raise AssertionError("not finished after 60 calls")


@every_vendor
def test_a_record_is_made_once_though_answers_are_lost_and_found_where_it_was_before(
    made: type[VendorMock], flow_into: FlowInto, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decide, "_GRACE", decide._GRACE * 0)  # what a mock has answered isn't under way any more
    vendor = made()
    with vendor.serving():
        theirs = vendor.add(vendor.kind, **sent(vendor, contact("P 0")["email"], "theirs"))
        consumer = HttpConsumer(flow_into(vendor), state)
        consumer.open()
        vendor.lost_answers = ["POST "] * 3
        wanted = {f"c{n}": contact(f"P {n}", city=f"City {n}") for n in range(6)}
        assert deliver(consumer, *(event(id, 1, one) for id, one in wanted.items())) == []
        assert held(vendor) == {one["email"]: one["city"] for one in wanted.values()}
        assert vendor.made == 5
        assert len(vendor.live(vendor.kind)) == 6
        assert theirs in vendor.live(vendor.kind)
        asked = len(vendor.asked)
        assert deliver(consumer, *(event(id, 1, one) for id, one in wanted.items())) == []
        assert [one.method for one in vendor.asked[asked:] if one.method in ("PUT", "PATCH", "DELETE")] == []
        wanted["c1"]["city"] = "Another"
        assert deliver(consumer, event("c1", 2, wanted["c1"])) == []
        assert held(vendor)[wanted["c1"]["email"]] == "Another"
        if read_description(vendor.api)[0].resources[vendor.resource].delete is not None:
            assert deliver(consumer, event("c2", 2, None)) == []
            assert set(held(vendor)) == {one["email"] for id, one in wanted.items() if id != "c2"}
        consumer.close()
    assert vendor.made == 5
    assert vendor.violations == []


@every_vendor
@pytest.mark.slow
@pytest.mark.usefixtures("state")
def test_a_consumer_killed_before_it_hears_the_answer_makes_no_record_twice(
    made: type[VendorMock], flow_into: FlowInto, state_dsn: str, tmp_path: Path, report: Report
) -> None:
    vendor = made()
    created, goes_on = threading.Event(), threading.Event()

    def heard() -> None:
        if not goes_on.is_set():
            created.set()
            goes_on.wait(0.5)  # the answer is on its way

    vendor.heard = heard
    with vendor.serving(), zygote(flow_into(vendor), state_dsn, tmp_path) as nursery:
        for number in range(KILLS):
            created.clear()
            pid = nursery.begin(max(0, number - 1), number + 1)
            assert created.wait(30), f"nothing was made in round {number}"
            os.kill(pid, signal.SIGKILL)
            assert nursery.ended() == -signal.SIGKILL
        goes_on.set()
        nursery.begin(0, KILLS)
        assert nursery.ended() == 0, (tmp_path / "zygote.log").read_text("utf-8")
    report(f"{vendor.api}: {KILLS} kills, {vendor.made} records made, {len(vendor.violations)} violations")
    assert sorted(held(vendor)) == sorted(contact(f"P {n}")["email"] for n in range(KILLS))
    assert vendor.made == KILLS
    assert vendor.violations == []
