"""Records that can't be delivered yet: what they lack or wait for, and who can fix it."""

from __future__ import annotations

from datetime import datetime
from typing import cast
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sorbus.map.contact import owner_of
from sorbus.ops.console.access.user import Role
from sorbus.ops.console.page_context import (
    Console,
    console_of,
    done,
    form_of,
    needs,
    person_of,
    refused,
    render,
)
from sorbus.waiting.store import WaitingCursor, Why, missing, waiting
from sorbus.waiting.store import retry as try_now

PAGE = 100
_VIEWS = {"": "All", "incomplete": "Incomplete", "reference": "Missing reference"}


def show(request: Request) -> Response:
    """A page of them, the longest waiting first, under how many lack which field."""
    console, asked = console_of(request), request.query_params
    why, flow = asked.get("why", ""), asked.get("flow", "")
    if why not in _VIEWS:
        raise HTTPException(404, f"records don't wait for {why!r}")
    found = waiting(
        console.state,
        flow=flow or None,
        why=cast("Why | None", why or None),
        after=_place(asked.get("after")),
        most=PAGE + 1,
    )
    page = found[:PAGE]
    company = console.loaded.map
    flows = {each.id: each for each in company.flows}
    lacking = [each for each in missing(console.state) if not flow or each.flow == flow]
    return render(
        request,
        "waiting/list.html",
        views=_VIEWS,
        why=why,
        flow=flow,
        found=page,
        following=_after(page[-1].since, page[-1].flow, page[-1].id) if len(found) > PAGE else None,
        here_with=lambda **more: f"/waiting?{urlencode({'why': why, 'flow': flow, **more})}",
        lacking=lacking if why != "reference" else [],
        ask={each.flow: _ask(console, flows[each.flow].data_type) for each in lacking if each.flow in flows},
        may_act=person_of(request).may(Role.operator),
    )


@needs(Role.operator)
def retry(request: Request) -> Response:
    """Has one record, or all of a flow, be tried at once."""
    console, form = console_of(request), form_of(request)
    name, id = str(form.get("flow", "")), str(form.get("id", ""))
    flow = next((each for each in console.loaded.map.flows if each.id == name), None)
    if flow is None:
        return refused(request, "/waiting", f"The map has no flow {name!r}.")
    count = try_now(console.state, flow.id, flow.data_type, flow.to, id or None, person_of(request).name)
    back = f"/waiting?{urlencode({'flow': flow.id})}"
    if not count:
        return refused(request, back, "No records are waiting there any more.")
    return done(request, back, f"{count:,} record{'s' * (count != 1)} of {flow.id} will be retried now.")


def _ask(console: Console, data_type: str) -> str:
    owner = console.loaded.map.owner_of(data_type)
    contact = owner_of(console.loaded.map, owner)
    return f"{contact.name}, in {owner}" if contact else f"the people responsible for {owner}"


def _after(since: datetime, flow: str, id: str) -> str:
    return f"{since.isoformat()}~{flow}~{id}"


def _place(written: str | None) -> WaitingCursor | None:
    if not written:
        return None
    since, _, rest = written.partition("~")
    flow, _, id = rest.partition("~")
    try:
        return WaitingCursor(datetime.fromisoformat(since), flow, id)
    except ValueError:
        raise HTTPException(400, "this page's address is not complete; start at the first page") from None


routes = [
    Route("/waiting", show, methods=["GET"], name="waiting"),
    Route("/waiting/retry", retry, methods=["POST"]),
]
