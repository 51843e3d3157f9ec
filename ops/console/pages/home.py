"""The first page: how everything is, now; and the page of each flow and system."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sorbus.errors import UsageError
from sorbus.map.render.diagram import arrows
from sorbus.map.render.pages.flow_words import when_in_words, which_in_words
from sorbus.mapfile.model import Flow
from sorbus.ops.console.access.user import Role
from sorbus.ops.console.drawing import draw_live
from sorbus.ops.console.flow_description import describe_flow, source_in_words
from sorbus.ops.console.health_status import HealthBadges, badges_of, worst
from sorbus.ops.console.live import FLOWS
from sorbus.ops.console.page_context import (
    Console,
    Section,
    console_of,
    done,
    form_of,
    needs,
    person_of,
    refused,
    render,
)
from sorbus.ops.flow_control.flow_controls import FlowControls
from sorbus.ops.history.timeline import Timeline, read_timeline
from sorbus.ops.replay.again import chosen_again, deliver_again

section = Section("Live map", "/")


def show(request: Request) -> Response:
    """The live map, what needs attention, and every flow in a table."""
    live = console_of(request).live
    signs = _signs(console_of(request))
    return render(
        request,
        "home.html",
        signs=signs,
        drawing=draw_live(console_of(request).loaded.as_written.map, _drawn_signs(console_of(request)), live.measured),
        states=_states(console_of(request)),
        flows=_flows(console_of(request)),
        needs=_needs(console_of(request)),
        figures=[figure for each in live.measured.decisions if (figure := each.figure())] if live.measured else [],
    )


def measure(request: Request) -> Response:
    """Has everything measured now, for readers whose page doesn't update by itself."""
    return done(request, "/", "Measuring now.")


def show_flow(request: Request) -> Response:
    """One flow: how it is, what the map says of it, and its mapping."""
    console = console_of(request)
    company, id = console.loaded.map, request.path_params["id"]
    try:
        flow = company.flow(id)
    except KeyError as error:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"the map has no flow {id}") from error
    measured, words = console.live.measured, describe_flow(console.loaded, flow)
    return render(
        request,
        "flow.html",
        flow=flow,
        words=words,
        sign=_signs(console).flows[id],
        state=_states(console).get(id),
        measured=measured,
        figures=[figure for each in measured.decisions if (figure := each.figure(id))] if measured else [],
        history=console.live.history.get(id, ()),
        timeline=read_timeline(console.state, id) if flow.runs else Timeline(),
        when=when_in_words(company, flow),
        which=which_in_words(company, flow),
        task=task if (task := console.jobs.task) and task.name.startswith(f"{id}: ") else None,
    )


def show_field(request: Request) -> Response:
    """One field of a flow's target: what it comes from and what is changed on the way, in words and as written."""
    console, id, name = console_of(request), request.path_params["id"], request.path_params["field"]
    flow = next((one for one in console.loaded.map.flows if one.id == id), None)
    words = describe_flow(console.loaded, flow) if flow is not None else None
    field = next((one for one in words.fields if one.target == name), None) if words is not None else None
    if words is None or field is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"the flow {id} fills no field {name}")
    return render(request, "field.html", flow=flow, field=field, whose=words.whose(field))


@needs(Role.operator)
def control_flow(request: Request) -> Response:
    """A person pauses a flow, resumes it, lets it deliver now, or has records delivered again."""
    console, id, form = console_of(request), request.path_params["id"], form_of(request)
    controls = FlowControls(console.settings, console.loaded.map, console.state)
    who, path = person_of(request).name, f"/flows/{id}"
    reason = str(form.get("reason", "")).strip()
    try:
        match str(form.get("action", "")):
            case "pause":
                if not reason:
                    return refused(request, path, "say why the flow is to pause: people see it wherever it is shown")
                return done(request, path, controls.pause(id, who, reason[:300]))
            case "resume":
                return done(request, path, controls.resume(id, who))
            case "sync":
                return done(request, path, controls.sync(id, who))
            case "again":
                return _deliver_again(request, id, who)
            case _:
                return refused(request, path, "that is nothing a flow can be told")
    except UsageError as error:
        return refused(request, path, str(error))


def _deliver_again(request: Request, flow: str, who: str) -> Response:
    console, form, path = console_of(request), form_of(request), f"/flows/{flow}"
    id, since, until = (str(form.get(name, "")).strip() for name in ("id", "since", "until"))
    selection = chosen_again(id, since, until)
    loaded = console.loaded
    work = partial(deliver_again, loaded, flow, selection, who)
    if not console.jobs.start(f"{flow}: delivering {selection.words} again", who, 0, lambda _: work()):
        return refused(request, path, "another piece of work is still running; try again once it has ended")
    return done(request, path, "It is being delivered again; this page says what came of it.")


def show_system(request: Request) -> Response:
    """One system: how it is, what it owns, what comes to it."""
    console = console_of(request)
    company, name, measured = console.loaded.map, request.path_params["name"], console.live.measured
    system = company.systems.get(name)
    if system is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"the map has no system {name}")
    signs = _signs(console)
    flows = _flows(console)
    return render(
        request,
        "system.html",
        name=name,
        system=system,
        signs=signs,
        own=[(each, _read_as(console, each, name)) for each in company.owned_by(name)],
        topics={topic.data_type: topic for topic in measured.topics} if measured else {},
        outgoing=[(flow, source) for flow, source in flows if name in source.split(", ")],
        incoming=[(flow, source) for flow, source in flows if flow.to == name],
        states=_states(console),
        facts=[fact for each in measured.decisions for fact in each.system_facts(name)] if measured else [],
        budget=next((one for one in measured.budgets if one.system == name), None) if measured else None,
        measured=measured,
    )


def _read_as(console: Console, data_type: str, system: str) -> str:
    """A data type that is read from a system, for people: of a two-way one, what that system shows of it."""
    shown = {each.proposals(system): each.data_type for each in console.loaded.two_way.values()}
    return f"{shown[data_type]}, as it is in {system}" if data_type in shown else data_type


def _signs(console: Console) -> HealthBadges:
    live = console.live
    return badges_of(console.loaded.map, live.measured, live.troubles.get(FLOWS, ""), live.unknown(FLOWS))


def _drawn_signs(console: Console) -> HealthBadges:
    """The signs for the map as people wrote it: a system of record's also tells of the merge and the way back to it."""
    signs = _signs(console)
    systems = dict(signs.systems)
    for two_way in console.loaded.two_way.values():
        back = signs.flows.get(two_way.back)
        found = [systems[two_way.system_of_record], systems[two_way.merge], *([back] if back is not None else [])]
        systems[two_way.system_of_record] = worst(found)
    return replace(signs, systems=systems)


def _states(console: Console) -> dict[str, object]:
    measured = console.live.measured
    return {state.flow: state for state in measured.flows} if measured else {}


def _flows(console: Console) -> list[tuple[Flow, str]]:
    """Every flow with the system that it comes from."""
    company = console.loaded.map
    return [
        (flow, source_in_words(console.loaded, arrow))
        for flow, arrow in zip(company.flows, arrows(company), strict=True)
    ]


def _needs(console: Console) -> list[tuple[str, str, str]]:
    """What needs attention: its subject, the subject's page ("" for none), what is with it."""
    company, measured = console.loaded.map, console.live.measured
    found = []
    for complaint in measured.complaints() if measured else ():
        subject, _, words = complaint.partition(": ")
        owner = company.owner_of(subject) if subject in company.data_types else subject
        is_flow = any(flow.id == subject for flow in company.flows)
        href = f"/flows/{subject}" if is_flow else f"/systems/{owner}" if owner in company.systems else ""
        found.append((subject, href, words))
    return found


routes = [
    Route("/", show, methods=["GET"], name="home"),
    Route("/measure", measure, methods=["POST"]),
    Route("/flows/{id}", show_flow, methods=["GET"], name="flow"),
    Route("/flows/{id}/fields/{field:path}", show_field, methods=["GET"], name="field"),
    Route("/flows/{id}", control_flow, methods=["POST"]),
    Route("/systems/{name}", show_system, methods=["GET"], name="system"),
]
