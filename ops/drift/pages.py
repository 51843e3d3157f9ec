"""Sources that have changed their fields: what happened, what it holds back, and saying that it is right."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sorbus.drift.store import DriftFinding, DriftStore
from sorbus.map.contact import owner_of
from sorbus.ops.console.access.user import Role
from sorbus.ops.console.page_context import (
    console_of,
    done,
    form_of,
    needs,
    person_of,
    refused,
    render,
)


def show_all(request: Request) -> Response:
    """The open findings, those that hold records first; with ?all=1 the settled ones too."""
    console, asked = console_of(request), request.query_params
    system, with_settled = asked.get("system", ""), asked.get("all") == "1"
    found = DriftStore(console.state).findings(system or None, settled=with_settled)
    return render(request, "drift/list.html", found=found, system=system, with_settled=with_settled)


def show_one(request: Request) -> Response:
    """One finding, and how to end it."""
    console, found = console_of(request), _found(request)
    contact = owner_of(console.loaded.map, found.system)
    return render(
        request,
        "drift/one.html",
        one=found,
        ask=str(contact) if contact else f"the people responsible for {found.system}",
        may_act=person_of(request).may(Role.operator),
    )


@needs(Role.operator)
def settle(request: Request) -> Response:
    """The source is right the way it is now."""
    console, found = console_of(request), _found(request)
    here, reason = f"/drift/{found.number}", str(form_of(request).get("reason", "")).strip()
    if not reason:
        return refused(request, here, "Enter a reason; it is kept with the finding.")
    if found.state == "settled":
        return refused(request, here, f"{found.settled_by} has settled it already.")
    DriftStore(console.state).settle(found.number, person_of(request).name, reason)
    return done(request, "/drift", f"{found.system}: {found.words}: settled.")


def _found(request: Request) -> DriftFinding:
    number = request.path_params["number"]
    for each in DriftStore(console_of(request).state).findings(settled=True):
        if each.number == number:
            return each
    raise HTTPException(404, f"there is no finding {number}")


routes = [
    Route("/drift", show_all, methods=["GET"], name="drift"),
    Route("/drift/{number:int}", show_one, methods=["GET"], name="drift_finding"),
    Route("/drift/{number:int}/settle", settle, methods=["POST"]),
]
