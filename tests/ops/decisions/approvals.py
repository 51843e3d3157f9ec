"""A kind of decision that only tests have: records whose delivery somebody must approve. All that a kind takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sorbus.mapfile.model import Map
from sorbus.ops.console.page_context import render
from sorbus.ops.decisions.kind import ConsolePages, DecisionKind
from sorbus.ops.decisions.open_decisions import Figure, Gauge, HealthBadge, OpenDecisions, counted
from sorbus.ops.digest.items import DigestItem, DigestRequest
from sorbus.ops.digest.recipient import Recipient
from sorbus.ops.monitoring.flow_state import FlowState
from sorbus.ops.monitoring.measure import Measurement
from sorbus.ops.trace.moment import Moment
from sorbus.ops.trace.record import TracedRecord
from sorbus.state import State

FLOW, ASKED = "customer-to-accounting", {"4711": "Mara asks: is this customer wanted?", "4712": "and this one?"}


@dataclass(frozen=True)
class ApprovalCounts(OpenDecisions):
    flows: tuple[str, ...] = ()

    def needs_person(self) -> int:
        return len(self.flows)

    def figure(self, flow: str | None = None) -> Figure:
        return Figure("Approvals", len(self.flows), "warn", "/approvals")

    def flow_badges(self, flow: str) -> Iterator[HealthBadge]:
        yield from counted("bad", self.flows.count(flow), "approval")

    def complaints(self) -> Iterator[str]:
        yield f"{FLOW}: {len(self.flows)} approvals are missing"

    def as_json(self) -> dict[str, JsonValue]:
        return {"approvals": len(self.flows)}

    def metrics(self, flows: Sequence[FlowState], at: float) -> Iterator[Gauge]:
        samples = [((flow.flow,), float(self.flows.count(flow.flow))) for flow in flows]
        yield Gauge("sorbus_approvals_open", "Records that wait for an approval.", ("flow",), samples)


@dataclass(frozen=True)
class ApprovalDigest:
    title: str = "Approvals"

    def items(self, recipient: Recipient) -> Iterator[DigestItem]:
        if recipient.owns_target(FLOW):
            yield DigestItem(f"{FLOW}: {len(ASKED)} need an approval", "/approvals")


class ApprovalKind(DecisionKind):
    name, item, counts = "approvals", "approval", ApprovalCounts

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "list.html").write_text('{% extends "base.html" %}{% block main %}<h1>{{ found }}</h1>{% endblock %}')

    def measure(self, company: Map, *, has_state: bool) -> Callable[[Measurement], ApprovalCounts]:
        return lambda _: ApprovalCounts((FLOW,) * len(ASKED))

    def pages(self) -> ConsolePages:
        def show(request: Request) -> Response:
            return render(request, "approvals/list.html", found=", ".join(ASKED.values()))

        return ConsolePages("Approvals", "/approvals", [Route("/approvals", show)], self._folder, "/approvals/")

    def digest(self, request: DigestRequest) -> ApprovalDigest:
        return ApprovalDigest()

    def trace(self, record: TracedRecord, state: State) -> Iterator[Moment]:
        if record.id in ASKED:
            at = datetime(2026, 11, 2, tzinfo=UTC)
            yield Moment(at, self.item, "accounting", ASKED[record.id], subject=record.id, is_open=True)
