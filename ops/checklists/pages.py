"""What people do by hand: what is due, ticking its steps, and saying that it was seen to be right."""

from __future__ import annotations

from datetime import datetime

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sorbus.errors import SorbusError, TransientError
from sorbus.ops.checklists import sheet_pages
from sorbus.ops.checklists.occurrences import Checklist, Standing
from sorbus.ops.checklists.sheets.figures import RECORDS
from sorbus.ops.checklists.store import Checklists
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

CHIPS: dict[Standing, str] = {"overdue": "bad", "open": "warn", "done": "ok", "on demand": "idle"}
"""How each standing is marked."""


def show_all(request: Request) -> Response:
    """Every one, in the map's order."""
    return render(request, "checklists/list.html", found=_store(request).all(), kinds=CHIPS)


def show_one(request: Request) -> Response:
    """One round's steps, and the rounds before."""
    return render(
        request,
        "checklists/one.html",
        one=_found(request),
        figures=_figures(request),
        kinds=CHIPS,
        may_act=person_of(request).may(Role.operator),
    )


@needs(Role.operator)
def tick(request: Request) -> Response:
    """A step is done, or is to be done after all."""
    found, form = _found(request), form_of(request)
    here, step, undo = f"/checklists/{found.flow}", str(form.get("step", "")), form.get("undo") == "1"
    if not step.isdecimal():
        return refused(request, here, "Choose a step.")
    if (round := _round(request)) is None:
        return refused(request, here, "The form names no round; reload the page.")
    try:
        _store(request).tick(found.flow, [int(step)], person_of(request).name, undo=undo, round=round)
    except TransientError:
        raise
    except SorbusError as error:
        return refused(request, here, str(error))
    return done(request, here, f"Step {step} is {'no longer marked done' if undo else 'done'}.")


@needs(Role.operator)
def finish(request: Request) -> Response:
    """The whole round is done."""
    found = _found(request)
    here, verification = f"/checklists/{found.flow}", str(form_of(request).get("verification", ""))
    if (round := _round(request)) is None:
        return refused(request, here, "The form names no round; reload the page.")
    try:
        _store(request).finish(found.flow, person_of(request).name, verification, round)
    except TransientError:
        raise
    except SorbusError as error:
        return refused(request, here, str(error))
    return done(request, here, "The round is done.")


def _store(request: Request) -> Checklists:
    console = console_of(request)
    return Checklists(console.loaded.map, console.state)


def _figures(request: Request) -> list[str]:
    """What is counted and added up of this flow."""
    manual = _store(request).flows[str(request.path_params["flow"])].manual
    return [RECORDS, *(manual.totals if manual else ())]


def _round(request: Request) -> datetime | None:
    """The round that the page showed: by the time that a form comes, even twice, another may be in hand."""
    try:
        return datetime.fromisoformat(str(form_of(request).get("round", "")))
    except ValueError:
        return None


def _found(request: Request) -> Checklist:
    store, flow = _store(request), str(request.path_params["flow"])
    if flow not in store.flows:
        raise HTTPException(404, f"there is no manual flow called {flow!r}")
    return store.get(flow)


routes = [
    *sheet_pages.routes,
    Route("/checklists", show_all, methods=["GET"], name="checklists"),
    Route("/checklists/{flow}", show_one, methods=["GET"], name="checklist"),
    Route("/checklists/{flow}/tick", tick, methods=["POST"]),
    Route("/checklists/{flow}/done", finish, methods=["POST"]),
]
