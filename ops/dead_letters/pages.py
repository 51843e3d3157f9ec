"""Dead letters: by cause, those of one cause, one by itself, and the actions on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from urllib.parse import urlencode

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sorbus.dlq.explain import Explanation, explain
from sorbus.dlq.form import Field
from sorbus.dlq.serialize import masked_letter
from sorbus.dlq.service import Chosen, DeadLetterService
from sorbus.dlq.store import CLOSED, STATES, Letter, LetterFilter, Spot
from sorbus.errors import SorbusError
from sorbus.ops.console.access.user import Role
from sorbus.ops.console.background_jobs import Told
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

PAGE = 50
AT_ONCE = 500
"""More letters than that are dealt with in the background."""
LOOKED_AT = 20
"""How many letters a dry run looks at."""
_FILTERS = ("flow", "data_type", "reason", "field", "assigned_to", "record", "state")


def groups(request: Request) -> Response:
    """One line for all letters with one cause."""
    service, filter = _service(request), _filter(request)
    return render(
        request,
        "dead_letters/groups.html",
        groups=[(group, explain(service.loaded, group)) for group in service.groups(filter)],
        list_of=lambda group: f"/letters/list?{_query(request, cause=group.cause, state=filter.state)}",
        filter=filter,
        states=("unsettled", "open", "requeued", "landed", "superseded", "discarded", "all"),
        flows=[flow.id for flow in service.loaded.map.flows if flow.runs],
        task=_console(request).jobs.task,
    )


def listed(request: Request) -> Response:
    """The letters of one cause, or of any filter, a page at a time."""
    service, filter = _service(request), _filter(request)
    page = service.letters.page(filter, _after(request), PAGE)
    letters, last = [masked_letter(service.mask, letter) for letter in page], service.letters.last(filter)
    more = _query(request, after=_spot_text(page[-1].spot)) if page and last and page[-1].spot < last else ""
    group = next(iter(service.groups(filter)), None) if filter.cause else None
    waiting = None if filter.state in CLOSED else replace(filter.unclosed(), until=last)
    return render(
        request,
        "dead_letters/list.html",
        letters=letters,
        count=service.letters.count(filter),
        waiting=service.letters.count(waiting) if waiting else 0,
        until=_spot_text(waiting.until) if waiting and waiting.until else "",
        group=group,
        explained=explain(service.loaded, group) if group else None,
        filter=filter,
        only=_narrowed(filter),
        more=more,
        here_query=request.url.query,
        task=_console(request).jobs.task,
    )


def one(request: Request) -> Response:
    """One letter: why, what it holds, how the target differs, what was done. Personal values masked."""
    return _one(request, request.query_params.get("id", ""), show_personal=False)


@needs(Role.operator)
def one_in_the_clear(request: Request) -> Response:
    """The same with its personal values, which is noted."""
    return _one(request, str(form_of(request).get("id", "")), show_personal=True)


@needs(Role.operator)
def act(request: Request) -> Response:
    """What is done with one letter, those that were ticked, or all of a filter."""
    service, form, who = _service(request), form_of(request), person_of(request).name
    back, action = _back(form), str(form.get("action", ""))
    chosen = _chosen(form)
    if not isinstance(chosen, LetterFilter) and not chosen:
        return refused(request, back, "Select at least one dead letter.")
    came = 0
    if isinstance(chosen, LetterFilter):
        try:
            chosen = chosen.unclosed()
        except SorbusError as error:
            return refused(request, back, f"{error}.")
        came = service.letters.count(replace(chosen, until=None)) - service.letters.count(chosen)
    if action == "dry-run":
        foreseen = service.dry_run(chosen, most=LOOKED_AT)
        return render(request, "dead_letters/dry_run.html", foreseen=foreseen, count=service.count(chosen), back=back)
    count = service.letters.count(chosen) if isinstance(chosen, LetterFilter) else len(chosen)
    reason, person = str(form.get("reason", "")).strip(), str(form.get("person", "")).strip()[:200]
    if action == "discard" and not reason:
        return refused(request, back, "Enter a reason for discarding; it is kept in the audit trail.")

    def work(told: Told) -> str:
        if action == "requeue":
            sent = service.requeue(chosen, who, progress=told)
            again = sum(sent.reread.values())
            rows = f"; {again} of them are rows that will be read again from their source" if again else ""
            left = f"; {sent.stranded} kept, since the map doesn't run their flows any more" if sent.stranded else ""
            return f"{_letters(len(sent.ids))} will be retried{rows}{left}."
        if action == "discard":
            gone = service.discard(chosen, who, reason, progress=told)
            left = f"; {gone.on_their_way} kept, since they are already being retried" if gone.on_their_way else ""
            return f"{_letters(gone.count)} discarded{left}."
        if action == "assign":
            given = _letters(service.assign(chosen, person, who))
            return f"{given} assigned to {person}." if person else f"{given} unassigned."
        raise HTTPException(HTTPStatus.BAD_REQUEST, "there is no such action")

    newer = f" {_letters(came)} came after this page was shown, and stay." if came > 0 else ""
    try:
        if count <= AT_ONCE:
            return done(request, back, f"{work(lambda _: None)}{newer}")
    except SorbusError as error:
        return refused(request, back, str(error))
    if not _console(request).jobs.start(f"{action} {_letters(count)}", who, count, work):
        return refused(request, back, "Another action on dead letters is still running; try again when it is done.")
    return done(request, back, f"{_letters(count)}: this takes a while. This page shows the progress.{newer}")


@needs(Role.operator)
def edit(request: Request) -> Response:
    """The edit form; personal values masked."""
    service, id = _service(request), request.query_params.get("id", "")
    found = service.letters.get(id)
    form = service.form(id, hide=True)
    seen = found.state_at.isoformat() if found else ""
    explained = explain(service.loaded, found.dead) if found else None
    first, others = _first(form.fields, explained, {})
    return render(
        request,
        "dead_letters/edit.html",
        id=id,
        seen=seen,
        explained=explained,
        first=first,
        others=others,
        errors={},
        sent={},
    )


@needs(Role.operator)
def save(request: Request) -> Response:
    """Takes the edit form: sends the record back, or says what is wrong, field by field."""
    service, form = _service(request), form_of(request)
    id = str(form.get("id", ""))
    texts = {name.removeprefix("f:"): str(value) for name, value in form.items() if name.startswith("f:")}
    seen = str(form.get("seen", ""))
    wrong = service.edit(id, texts, person_of(request).name, hide=True, seen=_moment(seen))
    if not wrong:
        said = "Edited and retried. The source still has the old values: have them corrected there too."
        return done(request, f"/letter?{urlencode({'id': id})}", said)
    errors = {error.path: error.message for error in wrong}
    found = service.letters.get(id)
    explained = explain(service.loaded, found.dead) if found else None
    first, others = _first(service.form(id, hide=True).fields, explained, errors)
    return render(
        request,
        "dead_letters/edit.html",
        status=HTTPStatus.UNPROCESSABLE_ENTITY,
        id=id,
        seen=seen,
        explained=explained,
        first=first,
        others=others,
        errors=errors,
        sent=texts,
    )


def _first(
    fields: Sequence[Field], explained: Explanation | None, errors: Mapping[str, str]
) -> tuple[list[Field], list[Field]]:
    """The fields that the letter, or a mistake in the form, is about; and the others."""
    asked = {_top(name.canonical) for name in explained.fields} if explained else set()
    asked |= {_top(path) for path in errors}
    return [each for each in fields if each.path in asked], [each for each in fields if each.path not in asked]


def _top(path: str) -> str:
    return path.partition(".")[0].partition("[")[0]


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise HTTPException(
            HTTPStatus.BAD_REQUEST, "the form does not say which state of the dead letter it shows; reload the page"
        ) from error


def _one(request: Request, id: str, *, show_personal: bool) -> Response:
    service = _service(request)
    found = service.find(id)
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "there is no dead letter with this id")
    opened = service.look_at(found, person_of(request).name, show_personal=show_personal)
    differences, trouble = None, ""
    if found.is_unsettled:
        try:
            differences = service.difference(id, hide=not show_personal)
        except SorbusError as error:
            trouble = str(error)
    return render(
        request,
        "dead_letters/one.html",
        opened=opened,
        letter=opened.letter,
        explained=explain(service.loaded, opened.letter.dead),
        differences=differences,
        trouble=trouble,
        dump=_dump(opened.raw or b""),
        can_edit=_can_edit(found, opened.decoded.record),
        is_shown=show_personal,
    )


def _can_edit(letter: Letter, record: object) -> bool:
    return letter.is_unsettled and bool(letter.dead.flow) and record is not None


def _dump(raw: bytes, most: int = 4096) -> list[tuple[str, str, str]]:
    """Bytes as people read them: offset, sixteen in hexadecimal, the same as text."""
    return [
        (
            f"{at:06x}",
            raw[at : at + 16].hex(" "),
            "".join(chr(byte) if 32 <= byte < 127 else "." for byte in raw[at : at + 16]),
        )
        for at in range(0, min(len(raw), most), 16)
    ]


def _service(request: Request) -> DeadLetterService:
    return _console(request).letters


def _console(request: Request) -> Console:
    return console_of(request)


def _letters(count: int) -> str:
    return f"{count:,} dead letter{'' if count == 1 else 's'}"


def _filter(request: Request) -> LetterFilter:
    asked = {name: request.query_params.get(name, "") for name in (*_FILTERS, "cause")}
    return _checked(asked)


def _narrowed(filter: LetterFilter) -> str:
    """What a list asks for beside its cause and state, in words; empty for nothing else."""
    words = LetterFilter(assigned_to=filter.assigned_to, record=filter.record).words
    return "" if words == "all" else words


def _checked(asked: dict[str, str]) -> LetterFilter:
    if asked["state"] not in ("", *STATES):
        raise HTTPException(HTTPStatus.BAD_REQUEST, "there is no such state")
    return LetterFilter(**{name: value for name, value in asked.items() if value})  # type: ignore[arg-type]


def _chosen(form: FormData) -> Chosen:
    """All of a filter, where the button says so; else what was ticked."""
    if form.get("which") == "all":
        filter = _checked({name: str(form.get(f"filter-{name}", "")) for name in (*_FILTERS, "cause")})
        until = _spot(str(form.get("until", "")))
        if until is None:
            raise HTTPException(
                HTTPStatus.BAD_REQUEST, "the form does not say which dead letters it shows; reload the page"
            )
        return replace(filter, until=until)
    return [str(id) for id in form.getlist("id")]


def _back(form: FormData) -> str:
    """The page that a form was on: a page of the console, whatever the form says."""
    id, query = str(form.get("back-id", "")), str(form.get("back", ""))
    return f"/letter?{urlencode({'id': id})}" if id else f"/letters/list?{query}" if query else "/letters"


def _after(request: Request) -> Spot | None:
    return _spot(request.query_params.get("after", ""))


def _spot(text: str) -> Spot | None:
    at, _, id = text.partition("|")
    try:
        return Spot(datetime.fromisoformat(at), id) if text else None
    except ValueError as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "there is no such page") from error


def _spot_text(spot: Spot) -> str:
    return f"{spot.first_at.isoformat()}|{spot.id}"


def _query(request: Request, **more: str) -> str:
    return urlencode({**request.query_params, **more})


routes = [
    Route("/letters", groups, methods=["GET"]),
    Route("/letters/list", listed, methods=["GET"]),
    Route("/letters/act", act, methods=["POST"]),
    Route("/letter", one, methods=["GET"]),
    Route("/letter/personal", one_in_the_clear, methods=["POST"]),
    Route("/letter/edit", edit, methods=["GET"]),
    Route("/letter/edit", save, methods=["POST"]),
]
