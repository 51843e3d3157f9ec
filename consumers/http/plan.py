"""What `sorbus plan` says of a flow into an application behind HTTP, and `sorbus discover` of the application."""

from __future__ import annotations

from sorbus.abilities import Resource
from sorbus.connector import BoundFlow, BoundSystem, Step
from sorbus.consumers.http.adopt import links_step, refused_step
from sorbus.consumers.http.options import HttpTarget
from sorbus.consumers.http.shape import Shape
from sorbus.errors import Finding, MapError
from sorbus.http_api.catalog import resources_of_description
from sorbus.http_api.connection import application, identity_of
from sorbus.http_api.description import Description
from sorbus.settings import Settings
from sorbus.spelling import closest
from sorbus.state.database import State, plan_state


def plan_flow(flow: BoundFlow) -> list[Step]:
    """The state's step; MapError with all that the description says against the flow."""
    check_flow(flow)
    steps = plan_state(dsn := Settings().database, flow.system.topic_prefix)
    if steps:
        return steps
    state = State(dsn, flow.system.topic_prefix)
    try:
        account = identity_of(application(flow.system))
        return [*links_step(state, flow), *refused_step(state, flow, account)]
    finally:
        state.close()


def check_flow(flow: BoundFlow) -> None:
    """MapError with all that can't work, found without asking the application."""
    made = application(flow.system)
    if findings := described_findings(flow, made.description, Shape(flow, made.description)):
        raise MapError(findings)


def described_findings(flow: BoundFlow, description: Description, shape: Shape) -> list[Finding]:
    """What a flow wants and the description doesn't allow."""
    options = flow.options
    assert isinstance(options, HttpTarget)
    resource, name, findings = shape.resource, options.resource, list[Finding]()
    if not description.hook:
        wanted = {"create": resource.create, "update": resource.update}
        if flow.flow.deletes == "hard":
            wanted["delete"] = resource.delete
        for what, operation in wanted.items():
            if operation is None:
                fix = "write deletes: ignore, or soft" if what == "delete" else "add it to a description of your own"
                findings.append(flow.finding("unsupported", f"{name} can't {what} records", fix))
    if flow.flow.on_conflict == "ask" and not (resource.get or description.hook):
        message = f"{name} can't be read, so manual changes there can't be detected"
        fix = "write on_conflict: overwrite, or add get: to a description of your own"
        findings.append(flow.finding("unsupported", message, fix))
    for path in (*options.deleted, *([options.marker] if options.marker else [])):
        if path not in resource.fields:
            message = f"{name} has no field {path!r}"
            findings.append(flow.finding("unknown-field", message, closest(path, resource.fields)))
    matches = flow.data_type.match if flow.flow.on_duplicate != "create" and options.creates else []
    if matches and not any(key in shape.into for key in matches):
        message = f"nothing of match: [{', '.join(matches)}] is mapped to a field of {name}: all would be made again"
        findings.append(flow.finding("unmatched", message, "map one of them, or write on_duplicate: create"))
    hidden = {path for path, field in resource.fields.items() if field.write_only}
    if options.marker in hidden:
        message = f"{options.marker} can't be read from {name}, so it marks nothing"
        findings.append(flow.finding("write-only", message, "name a field that is answered, or write marker: ''"))
    for key in matches:
        if (into := shape.into.get(key)) in hidden:
            message = f"{into} can't be read from {name}, so match: [{key}] can't find the records that are there"
            fix = f"map {key} to a field that is answered (see sent_as), match by another, or on_duplicate: create"
            findings.append(flow.finding("write-only", message, fix))
    if flow.flow.deletes == "soft" and not options.deleted:
        message = "deletes are soft, and nothing says how a deleted record looks there"
        fix = "write target: {deleted: {FIELD: VALUE}}, or deletes: hard"
        findings.append(flow.finding("no-soft-delete", message, fix))
    for missing in shape.missing() if options.creates else ():
        message = f"nothing fills {name}.{missing}, which the application requires"
        findings.append(flow.finding("unfilled", message, "add a row for it to the mapping sheet"))
    return findings


def discover_resources(system: BoundSystem) -> list[Resource]:
    """The application's resources, as its description has them."""

    return resources_of_description(application(system).description)
