"""A new kind of decision is a folder and a place in the list: all who ask the kinds know it then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sorbus.map.loaded import LoadedMap
from sorbus.ops.console.health_status import badges_of
from sorbus.ops.decisions.kind import DecisionKind
from sorbus.ops.decisions.registry import DECISION_KINDS
from sorbus.ops.digest.delivery import DigestDelivery
from sorbus.ops.digest.render import as_text
from sorbus.ops.digest.writer import DigestWriter
from sorbus.ops.embedded import Addresses
from sorbus.ops.monitoring.build_monitor import open_watch
from sorbus.ops.monitoring.exporter import WatchCollector
from sorbus.ops.monitoring.measure import Measurement
from sorbus.ops.monitoring.status import as_json
from sorbus.ops.trace.trace import trace_record
from sorbus.settings import Settings
from sorbus.state import State
from tests.ops.console.conftest import Serve, loaded, serve
from tests.ops.console.visitor import eventually
from tests.ops.decisions.approvals import FLOW, ApprovalKind

__all__ = ["loaded", "serve"]

Kinds = tuple[DecisionKind, ...]


@pytest.fixture
def kinds(tmp_path: Path) -> Kinds:
    (tmp_path / "approvals").mkdir()
    return (*DECISION_KINDS, ApprovalKind(tmp_path / "approvals"))


@pytest.fixture
def settings(stack: Addresses, state: State, database: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("SORBUS_DATABASE", database)
    return Settings(kafka=stack.kafka, registry=stack.registry, database=database)


def test_the_console_shows_it_on_the_first_page_in_the_menu_and_in_a_trace(serve: Serve, kinds: Kinds) -> None:
    visitor = serve(kinds=kinds).visitor()
    menu = '<a href="/approvals">Approvals <span class="count">2</span></a>'
    eventually(lambda: menu in visitor.get("/").text, "the menu counts no approvals")

    home = visitor.get("/").text
    assert '<dt>Approvals</dt><dd><a href="/approvals">2</a></dd>' in home
    assert "2 approvals are missing" in home
    assert "is this customer wanted?" in visitor.get("/approvals").text
    assert '<a href="/approvals/4711">approval</a>' in visitor.get("/trace?type=customer&id=4711").text


def test_the_watch_exports_it_and_status_tells_it(loaded: LoadedMap, settings: Settings, kinds: Kinds) -> None:
    watch = open_watch(loaded, settings, kinds)
    try:
        measured = watch.measure()
    finally:
        watch.close()

    collector = WatchCollector(clock=lambda: measured.at)
    collector.show(measured)
    samples = [sample for metric in collector.collect() for sample in metric.samples]
    assert [(one.labels["flow"], one.value) for one in samples if one.name == "sorbus_approvals_open"] == [(FLOW, 2)]
    assert as_json(measured)["approvals"] == 2
    assert f"{FLOW}: 2 approvals are missing" in measured.complaints()
    badge = badges_of(loaded.map, measured).flows[FLOW]
    assert (badge.kind, badge.text) == ("bad", "needs action")
    assert "run `sorbus apply`" in badge.why


def test_the_digest_has_a_section_for_whom_it_concerns(
    loaded: LoadedMap, settings: Settings, state: State, kinds: Kinds
) -> None:
    now, company = datetime.now(UTC), loaded.map
    facts = DigestDelivery(company, settings, state, kinds=kinds).gather(
        Measurement(now.timestamp(), (), (), {}, {}), now - timedelta(days=1), now
    )
    writer = DigestWriter(company)
    sales, finance = (contact for contact in writer.recipients.contacts() if contact.address)

    assert f"* {FLOW}: 2 need an approval" in as_text(writer.digest(facts, finance), "Larkspur", "")
    assert "approval" not in as_text(writer.digest(facts, sales), "Larkspur", "")


def test_a_trace_tells_it(loaded: LoadedMap, settings: Settings, state: State, kinds: Kinds) -> None:
    found = trace_record(loaded, settings, state, "customer", "4711", asks_targets=False, kinds=kinds)

    assert [(one.kind, one.what) for one in found.moments] == [("approval", "Mara asks: is this customer wanted?")]
    assert found.is_known
    assert found.needs_someone
