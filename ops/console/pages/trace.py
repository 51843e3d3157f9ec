"""One record's trace: what happened to it in order of time, and what each target has of it now."""

from __future__ import annotations

from threading import BoundedSemaphore
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sorbus.ops.console.access.user import Role
from sorbus.ops.console.page_context import Section, console_of, item_paths, needs, person_of, render
from sorbus.ops.console.values import note_values, text_of
from sorbus.ops.trace.trace import trace_record

LONGEST_ID = 500
AT_ONCE = 4
"""Traces that are made at once: each may read a whole topic, and all pages share the same threads."""
PATIENCE = 10.0
"""Seconds for which a page searches a topic that has no index yet; `sorbus trace` takes the time it needs."""
_AT_WORK = BoundedSemaphore(AT_ONCE)
section = Section("Trace", "/trace")


def show(request: Request) -> Response:
    """The form, and below it the record that it names; targets are asked only where the address says so."""
    return _page(request, asks_targets=request.query_params.get("targets") == "1", is_shown=False)


@needs(Role.operator)
def show_values(request: Request) -> Response:
    """The same with personal values in the clear, which is noted."""
    asked = request.query_params
    data_type, id = asked.get("type", ""), asked.get("id", "")
    note_values(request, "record", f"{data_type} {id}", data_type, id)
    return _page(request, asks_targets=True, is_shown=True)


def _page(request: Request, *, asks_targets: bool, is_shown: bool) -> Response:
    console, asked = console_of(request), request.query_params
    data_types = list(console.loaded.map.data_types)
    data_type, id = asked.get("type", data_types[0] if data_types else ""), asked.get("id", "")
    if len(id) > LONGEST_ID or (id and data_type not in data_types):
        raise HTTPException(404, "the map has no such data type, or the record ID is too long")
    found = None
    if id:
        if not _AT_WORK.acquire(blocking=False):
            raise HTTPException(503, "too many traces are running; try again in a moment")
        try:
            found = trace_record(
                console.loaded,
                console.settings,
                console.state,
                data_type,
                id,
                kinds=console.kinds,
                asks_targets=asks_targets,
                show_personal=is_shown,
                patience=PATIENCE,
            )
        finally:
            _AT_WORK.release()
    return render(
        request,
        "trace.html",
        data_types=data_types,
        data_type=data_type,
        id=id,
        found=found,
        asks_targets=asks_targets,
        is_shown=is_shown,
        item_paths=item_paths(console.kinds),
        query=urlencode({"type": data_type, "id": id}),
        may_act=person_of(request).may(Role.operator),
        text=text_of,
    )


routes = [Route("/trace", show, methods=["GET"]), Route("/trace", show_values, methods=["POST"])]
