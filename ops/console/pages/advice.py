"""What changes, failures and use say about each flow's timing, as `sorbus map advise`."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sorbus.advice.gather import gather
from sorbus.advice.judge import Verdict, judge
from sorbus.ops.console.page_context import Section, console_of, render

section = Section("Timing advice", "/advice")
CHIPS = {Verdict.TOO_EARLY: "idle", Verdict.KEEP: "ok"}
"""The kind of a verdict's chip; the others are warnings."""


def show(request: Request) -> Response:
    """Every flow that runs. Targets aren't asked: a page must not wait for them."""
    console = console_of(request)
    advice = [judge(one) for one in gather(console.loaded, console.state, asks_targets=False)]
    return render(request, "advice.html", advice=advice, chips=CHIPS)


routes = [Route("/advice", show, methods=["GET"], name="advice")]
