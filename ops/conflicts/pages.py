"""Conflicts: fields that people changed in a system that doesn't own them, or in two systems at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sorbus.conflict.store import Choice, Conflict, Conflicts
from sorbus.errors import SorbusError
from sorbus.map.render.pages.shared_fields import whose_change_counts
from sorbus.ops.conflicts.masking import ConflictMask
from sorbus.ops.conflicts.resolver import ConflictResolver
from sorbus.ops.conflicts.side_by_side import RECORD, SystemValue, two_way_of, values_by_system
from sorbus.ops.conflicts.states import BY_VIEW, DESCRIPTIONS, TWO_WAY_DESCRIPTIONS
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
from sorbus.ops.console.values import note_values, text_of

PAGE = 50
_VIEWS = {
    "open": "Open",
    "decided": "Decided",
    "overwritten": "Overwritten",
    "rewritten": "Reformatted by the system",
    "all": "All",
}


def show_all(request: Request) -> Response:
    """Those in one state, the newest first."""
    console, asked = console_of(request), request.query_params
    view = asked.get("state", "open")
    if view not in _VIEWS:
        raise HTTPException(404, f"conflicts have no state {view!r}")
    before = int(asked["before"]) if asked.get("before", "").isdecimal() else None
    conflicts = Conflicts(console.state)
    found = conflicts.page(BY_VIEW[view], before=before, most=PAGE + 1)
    page = list(map(ConflictMask(console.loaded), found[:PAGE]))
    following = page[-1].number if len(found) > PAGE else None
    places = conflicts.places() if view == "open" else []
    owners = {name: console.loaded.map.owner_of(name) for name in console.loaded.map.data_types}
    return render(
        request,
        "conflicts/list.html",
        view=view,
        views=_VIEWS,
        found=page,
        following=following,
        places=places,
        owners=owners,
        text=text_of,
        may_act=person_of(request).may(Role.operator),
    )


def show_one(request: Request) -> Response:
    """One conflict, personal values masked."""
    console, found = console_of(request), _found(request)
    return _page(request, ConflictMask(console.loaded)(found), shown=found.shown, is_shown=False)


@needs(Role.operator)
def show_values(request: Request) -> Response:
    """One conflict with personal values in the clear, noted in the audit trail."""
    found = _found(request)
    note_values(request, "conflict", str(found.number), found.data_type, found.id)
    return _page(request, found, shown=found.shown, is_shown=True)


@needs(Role.operator)
def decide(request: Request) -> Response:
    """Writes the decision down; the record continues."""
    console, number, form = console_of(request), _number(request), form_of(request)
    choice, here = str(form.get("choice", "")), f"/conflicts/{_number(request)}"
    reason, who = str(form.get("reason", "")).strip(), person_of(request).name
    try:
        if choice == "compare":
            Conflicts(console.state).compare(number, who=who, reason=reason)
            return done(request, here, "The field is compared again from each record's next change.")
        if choice not in ("overwrite", "keep"):
            return refused(request, here, "Choose which value wins.")
        resolver = ConflictResolver(console.loaded.map, console.settings, console.state)
        shown = str(form.get("shown", ""))
        made = resolver.decide(number, cast("Choice", choice), who=who, reason=reason, shown=shown)
    except SorbusError as error:
        return refused(request, here, f"{error}.")
    if made.left:
        others = ", ".join(one.field for one in made.left)
        return done(
            request, f"/conflicts/{made.left[0].number}", f"Decided. The record is sent once {others} is decided too."
        )
    then = "The record is delivered now." if made.letters else "The decision applies with the record's next change."
    return done(request, "/conflicts", f"Decided: {made.conflict.field} of {made.conflict.id}. {then}")


def _page(request: Request, found: Conflict, *, shown: str, is_shown: bool) -> Response:
    console = console_of(request)
    loaded = console.loaded
    known = found.data_type in loaded.map.data_types
    owner = loaded.map.owner_of(found.data_type) if known else "its owner"
    two_way, values = two_way_of(loaded, found), list[SystemValue]()
    if two_way is not None:
        values = values_by_system(loaded, console.settings, console.state, two_way, found)
        if not is_shown:
            mask = ConflictMask(loaded)
            values = [
                one if one.system == found.system else replace(one, value=mask(replace(found, theirs=one.value)).theirs)
                for one in values
            ]
    return render(
        request,
        "conflicts/two_way.html" if two_way is not None else "conflicts/one.html",
        one=found,
        owner=owner,
        two_way=two_way,
        values=values,
        is_record=found.field == RECORD,
        rule=whose_change_counts(two_way, found.field) if two_way is not None else "",
        descriptions=TWO_WAY_DESCRIPTIONS if two_way is not None else DESCRIPTIONS,
        shown=shown,
        is_shown=is_shown,
        text=text_of,
        may_act=person_of(request).may(Role.operator),
    )


def _number(request: Request) -> int:
    return int(request.path_params["number"])


def _found(request: Request) -> Conflict:
    try:
        return Conflicts(console_of(request).state).get(_number(request))
    except SorbusError as error:
        if type(error) is SorbusError:
            raise HTTPException(404, str(error)) from error
        raise


routes = [
    Route("/conflicts", show_all, methods=["GET"]),
    Route("/conflicts/{number:int}", show_one, methods=["GET"]),
    Route("/conflicts/{number:int}", decide, methods=["POST"]),
    Route("/conflicts/{number:int}/values", show_values, methods=["POST"]),
]
