"""Duplicate candidates side by side, what a person decides about them, and doubles that are to be merged."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sorbus.errors import SorbusError
from sorbus.identity.candidates import Candidates, Decision, DuplicateCandidate
from sorbus.identity.merged import MergedRecords, Way
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
from sorbus.ops.console.values import note_values, text_of
from sorbus.ops.duplicates.masking import masked_candidate
from sorbus.ops.duplicates.merge import RecordMerger
from sorbus.ops.duplicates.resolver import DuplicateResolver

PAGE = 50
_BY_HAND: Way = "person"
_WAYS: dict[Way, str] = {
    "merge": "merged by the system",
    "person": "merged by hand (creates a task)",
    "delete": "deleted in the system",
}


def show_all(request: Request) -> Response:
    """Those that wait for a person, the oldest question first."""
    console, after = console_of(request), request.query_params.get("after", "")
    found = Candidates(console.state).page(int(after) if after.isdecimal() else 0, PAGE + 1)
    page = [masked_candidate(console.loaded, one) for one in found[:PAGE]]
    following = page[-1].number if len(found) > PAGE else None
    due = len(MergedRecords(console.state).due())
    return render(
        request,
        "duplicates/list.html",
        found=page,
        following=following,
        due=due,
        may_act=_may_act(request),
        text=text_of,
    )


def show_one(request: Request) -> Response:
    """One record beside those that it may be."""
    return _page(request, masked_candidate(console_of(request).loaded, _found(request)), is_shown=False)


@needs(Role.operator)
def show_values(request: Request) -> Response:
    """The same with personal values in the clear, which is noted."""
    found = _found(request)
    note_values(request, "duplicate", str(found.number), found.data_type, found.id)
    return _page(request, found, is_shown=True)


@needs(Role.operator)
def decide(request: Request) -> Response:
    """Link, create or merge: written down, carried out, and the record continues."""
    console, form, found = console_of(request), form_of(request), _found(request)
    here, choice = f"/duplicates/{found.number}", str(form.get("choice", ""))
    survivor, reason, who = str(form.get("survivor", "")), str(form.get("reason", "")).strip(), person_of(request).name
    if choice not in ("link", "create", "merge"):
        return refused(request, here, "Choose link, merge or create.")
    if choice != "create" and not survivor:
        return refused(request, here, f"Select the matching record in {found.system}.")
    try:
        if choice == "merge":
            return _merge(request, found, survivor, reason, who)
        decision = Decision("link", survivor) if choice == "link" else Decision("create", None)
        resolver = DuplicateResolver(console.loaded.map, console.settings, console.state)
        resolver.warning(found, decision)
        letters = resolver.decide(found.number, decision, who=who, reason=reason)
    except SorbusError as error:
        return refused(request, here, f"{error}.")
    what = f"is linked to {survivor} in {found.system}" if choice == "link" else f"will be created in {found.system}"
    then = "It is delivered now." if letters else "The decision applies with its next change."
    return done(request, "/duplicates", f"{found.data_type} {found.id} {what}. {then}")


def _merge(request: Request, found: DuplicateCandidate, survivor: str, reason: str, who: str) -> Response:
    console, form = console_of(request), form_of(request)
    others = [str(one) for one in form.getlist("other") if str(one) != survivor]
    way = next((way for way in _WAYS if way == form.get("way")), _BY_HAND)
    merger = RecordMerger(console.loaded, console.settings, console.state)
    made = merger.merge(found, survivor, others, way, who=who, reason=reason)
    left = [one for one in made.merged if one.state == "due"]
    said = f"{found.data_type} {found.id} is linked to {survivor}; {len(made.merged) - len(left)} merged into it"
    if left:
        return done(request, "/duplicates/merges", f"{said}, {len(left)} still to do.")
    return done(request, "/duplicates", f"{said}.")


def show_merges(request: Request) -> Response:
    """What is to be merged by hand or again, and what was merged last."""
    merged = MergedRecords(console_of(request).state)
    due = merged.due()
    finished = [one for one in merged.all() if one.state == "done"][-200:]
    return render(
        request, "duplicates/merges.html", due=due, finished=finished, may_act=_may_act(request), text=text_of
    )


@needs(Role.operator)
def follow_up(request: Request) -> Response:
    """A person says that a double is gone, or has it tried again."""
    console, form, number = console_of(request), form_of(request), int(request.path_params["number"])
    merged, external_id = MergedRecords(console.state), str(form.get("external_id", ""))
    here = "/duplicates/merges"
    try:
        found = [one for one in merged.of_candidate(number) if one.external_id == external_id]
        if not found:
            return refused(request, here, f"Decision {number} merges no {external_id}.")
        if form.get("did") == "retry":
            tried = RecordMerger(console.loaded, console.settings, console.state).carry_out(found)
            (one,) = (each for each in tried if each.external_id == external_id)
            if one.task:
                return refused(request, here, f"{one.task}.")
            return done(request, here, f"{external_id} is merged into {one.survivor}.")
        merged.done(found[0], person_of(request).name)
    except SorbusError as error:
        return refused(request, here, f"{error}.")
    return done(request, here, f"{external_id} is merged into {found[0].survivor}.")


def _page(request: Request, found: DuplicateCandidate, *, is_shown: bool) -> Response:
    console = console_of(request)
    known = found.data_type in console.loaded.map.data_types
    names = dict.fromkeys([*found.fields, *(name for doubt in found.doubts for name in doubt.fields)])
    may_act = _may_act(request)
    asks = may_act and found.state != "done" and len(found.doubts) > 1
    ways = _ways(console, found) if asks else []
    return render(
        request,
        "duplicates/one.html",
        one=found,
        owner=console.loaded.map.owner_of(found.data_type) if known else "its owner",
        names=list(names),
        ways=ways,
        audit=Candidates(console.state).audit(found.number),
        merged=MergedRecords(console.state).of_candidate(found.number),
        is_shown=is_shown,
        may_act=may_act,
        text=text_of,
    )


def _ways(console: Console, found: DuplicateCandidate) -> list[tuple[Way, str]]:
    """How doubles can go, the gentlest first; by hand always, also where the system can't be asked."""
    try:
        known = RecordMerger(console.loaded, console.settings, console.state).ways(found)
    except SorbusError:
        known = frozenset({"person"})
    return [(way, label) for way, label in _WAYS.items() if way in known]


def _may_act(request: Request) -> bool:
    return person_of(request).may(Role.operator)


def _found(request: Request) -> DuplicateCandidate:
    found = Candidates(console_of(request).state).get(int(request.path_params["number"]))
    if found is None:
        raise HTTPException(404, "there is no such possible duplicate")
    return found


routes = [
    Route("/duplicates", show_all, methods=["GET"]),
    Route("/duplicates/merges", show_merges, methods=["GET"]),
    Route("/duplicates/{number:int}", show_one, methods=["GET"]),
    Route("/duplicates/{number:int}", decide, methods=["POST"]),
    Route("/duplicates/{number:int}/values", show_values, methods=["POST"]),
    Route("/duplicates/{number:int}/merged", follow_up, methods=["POST"]),
]
