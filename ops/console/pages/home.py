"""The first page: how everything is, now."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sorbus.ops.console.frame import Section, render

section = Section("Live map", "/")


def show(request: Request) -> Response:
    """Every flow, and what somebody should look at."""
    return render(request, "home.html")


routes = [Route("/", show, methods=["GET"], name="home")]
