"""Whether flows' settings for incomplete records and references are valid."""

from __future__ import annotations

from collections.abc import Iterator

from sorbus.abilities import DetectsConflicts
from sorbus.connector import BoundFlow
from sorbus.errors import Finding
from sorbus.map.checks.bound import Bound
from sorbus.mapping.assign import read_target
from sorbus.mapping.convert import convert
from sorbus.mapping.record_references import referred
from sorbus.mapping.rule import RuleError, compile_rule
from sorbus.spelling import closest
from sorbus.timing.duration import parse_duration


def check_incomplete(bound: Bound) -> Iterator[Finding]:
    """Findings about `required`, `defaults`, `on_incomplete`, `wait_limit` and `id_in`."""
    for place, flow in bound.flows.items():
        yield from _fields(bound, place, flow)
        yield from _limit(bound, place, flow)
        yield from _references(bound, flow)
    yield from _to_canonical(bound)


def _fields(bound: Bound, place: int, flow: BoundFlow) -> Iterator[Finding]:
    written, fields = flow.flow, flow.schema.by_name
    named = [*(("required", n, field) for n, field in enumerate(written.required))]
    named += [("defaults", field, field) for field in written.defaults]  # type: ignore[misc]
    for key, step, field in named:
        if field not in fields:
            message = f"{written.id}: {written.data_type} has no field {field!r}"
            yield bound.loaded.finding(("flows", place, key, step), "unknown-field", message, closest(field, fields))
    for field, value in written.defaults.items():
        if field not in fields:
            continue
        try:
            convert(value, fields[field].type)
        except (ValueError, TypeError) as error:
            message = f"{written.id}: the default of {field}: {error}"
            fix = "write a value that the field can hold"
            yield bound.loaded.finding(("flows", place, "defaults", field), "bad-value", message, fix)
    path = ("flows", place, "on_incomplete")
    if written.on_incomplete == "default" and not written.defaults:
        message = f"{written.id} says on_incomplete: default, and gives no default"
        yield bound.loaded.finding(path, "no-default", message, "add defaults: {FIELD: VALUE}, or write hold")
    if written.on_incomplete != "default" and written.defaults:
        message = f"{written.id} has defaults that nothing uses"
        yield bound.loaded.finding(path, "unused-default", message, "write on_incomplete: default, or delete them")
    if written.on_incomplete == "pass" and written.required:
        message = f"{written.id} requires fields, and says on_incomplete: pass"
        yield bound.loaded.finding(path, "unused-required", message, "write on_incomplete: hold, or delete `required:`")


def _limit(bound: Bound, place: int, flow: BoundFlow) -> Iterator[Finding]:
    try:
        is_fine = parse_duration(flow.flow.wait_limit) > 0
        message = f"{flow.flow.id}: wait_limit must be longer than nothing"
    except ValueError as error:
        is_fine, message = False, f"{flow.flow.id}: wait_limit: {str(error).partition(';')[0]}"
    if not is_fine:
        yield bound.loaded.finding(("flows", place, "wait_limit"), "bad-duration", message, "write 30s, 5m, 2h or 1d")


def _references(bound: Bound, flow: BoundFlow) -> Iterator[Finding]:
    """What the flow's rows refer to must be delivered to the same target by another flow (or this one)."""
    target, written = flow.flow.to, bound.loaded.map
    resources = bound.loaded.consumer(target).resources_of(flow.options)
    reading = read_target(flow.mapping, target, flow.flow.data_type, flow.schema, resources, flow.lookups)
    going = {one.data_type for one in written.flows if one.to == target and one.runs}
    into = bound.loaded.resources_in(target)
    for item in (item for items in reading.parts.values() for item in items):
        if item.row is None:
            continue
        for name, resource in referred(item.rule):
            row = item.row
            if name not in written.data_types:
                message, fix = f"rule {row.rule}: no data type is called {name!r}", closest(name, written.data_types)
                yield Finding(row.file, row.line, message, fix, "unknown-data-type")
            elif bound.owners.get(name) == target:
                message = f"rule {row.rule}: {target} owns {name}, so that our ids are its own"
                yield Finding(row.file, row.line, message, "leave id_in out", "own-reference")
            elif name not in going:
                message = f"rule {row.rule}: no flow brings {name} to {target}, so that it has no id there"
                fix = f"add a flow (data_type: {name}, to: {target}), or leave id_in out"
                yield Finding(row.file, row.line, message, fix, "no-reference")
            elif resource and resource not in into.get(name, ()):
                message = f"rule {row.rule}: no flow brings {name} into {resource} of {target}"
                yield Finding(row.file, row.line, message, closest(resource, into.get(name, ())), "no-reference")
            elif (
                not resource
                and len(into.get(name, ())) > 1
                and isinstance(bound.loaded.consumer(target), DetectsConflicts)
            ):
                several = into[name]
                message = f"rule {row.rule}: {name} goes into {' and '.join(several)} of {target}: whose id is meant?"
                fix = f'write id_in("{name}", "{several[0]}"), or another of them'
                yield Finding(row.file, row.line, message, fix, "unclear-reference")


def _to_canonical(bound: Bound) -> Iterator[Finding]:
    """Rows from an owner to canonical fields keep ids unchanged: canonical ids are the owner's."""
    for row in bound.loaded.mappings:
        if row.target_system != "canonical" or "id_in" not in row.rule:
            continue
        try:
            names = referred(compile_rule(row.rule, lookups=bound.loaded.map.lookups))
        except RuleError:
            continue  # a finding already
        if names:
            message = f"rule {row.rule}: id_in gives a target's ids, and this row fills a canonical field"
            yield Finding(row.file, row.line, message, "write it in the row from canonical to the target", "bad-rule")
