"""Whether each flow goes from the owner to another system, at a valid time, and never in a circle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sorbus.abilities import DetectsConflicts, NeedsOwnPlace
from sorbus.bus.names import Names
from sorbus.errors import Finding
from sorbus.map.checks.bound import Bound
from sorbus.map.checks.times import check_times
from sorbus.mapfile.model import Flow
from sorbus.spelling import closest


class _Edge(NamedTuple):
    """A flow's data from one resource to another, as (system, resource); a step's `place` is negative, from -1 on."""

    place: int
    start: tuple[str, str]
    end: tuple[str, str]


def check_flows(bound: Bound) -> Iterator[Finding]:
    """Findings about flows."""
    for place, flow in enumerate(bound.loaded.map.flows):
        yield from _ends(bound, place, flow)
        yield from _running(bound, place, flow)
        yield from _conflicts(bound, place, flow)
    yield from _doubles(bound)
    yield from _shared_places(bound)
    yield from _loops(bound)


def _ends(bound: Bound, place: int, flow: Flow) -> Iterator[Finding]:
    written, owner = bound.loaded.map, bound.owners.get(flow.data_type)
    path = ("flows", place)
    if flow.data_type not in written.data_types:
        message = f"no data type is called {flow.data_type!r}"
        fix = closest(flow.data_type, written.data_types)
        yield bound.loaded.finding((*path, "data_type"), "unknown-data-type", message, fix)
    for key, system in (("to", flow.to), ("from", flow.source)):
        if system is not None and system not in written.systems:
            message = f"{flow.id}: no system is called {system!r}"
            yield bound.loaded.finding((*path, key), "unknown-system", message, closest(system, written.systems))
    if owner is not None and flow.source is not None and flow.source != owner and flow.source in written.systems:
        message = f"{flow.id} comes from {flow.source}, but {owner} owns {flow.data_type}"
        yield bound.loaded.finding((*path, "from"), "not-owner", message, f"write from: {owner}, or leave `from:` out")
    if flow.to == (flow.source or owner):
        others = [system for system in written.systems if system != flow.to]
        message = f"{flow.id} goes from {flow.to} into {flow.to} itself"
        fix = f"write another target, such as to: {others[0]}" if others else "delete the flow"
        yield bound.loaded.finding((*path, "to"), "own-source", message, fix)


def _running(bound: Bound, place: int, flow: Flow) -> Iterator[Finding]:
    path = ("flows", place)
    yield from check_times(bound.loaded, place)
    if flow.manual is not None and flow.none is not None:
        message = f"{flow.id} is both done by hand (manual) and not integrated (none)"
        yield bound.loaded.finding((*path, "none"), "contradiction", message, "keep the one that is true")


def _conflicts(bound: Bound, place: int, flow: Flow) -> Iterator[Finding]:
    bound_flow = bound.flows.get(place)
    if flow.on_conflict != "ask" or bound_flow is None:
        return
    if not isinstance(bound.loaded.consumer(flow.to), DetectsConflicts):
        message = f"{flow.id}: {flow.to} is written without reading it first, so that nothing can be asked"
        fix = "write on_conflict: overwrite, or leave it out"
        yield bound.loaded.finding(("flows", place, "on_conflict"), "unsupported", message, fix)


def _doubles(bound: Bound) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    going: dict[tuple[str, str, str], int] = {}  # by the record's resource: its versions are kept there, whoever writes
    for place, flow in enumerate(bound.loaded.map.flows):
        where = _bare(_resources(bound, place).get("", ""))
        same = going.setdefault((flow.data_type, flow.to, where), place)
        first = seen.setdefault(flow.id, place)
        if same != place:
            line = bound.loaded.line("flows", same)
            message = f"{flow.data_type} goes to {flow.to} twice, first in line {line}"
            yield bound.loaded.finding(("flows", place), "double-flow", message, "delete one of the flows")
        elif first != place:
            line = bound.loaded.line("flows", first)
            message = f"two flows are called {flow.id}, the first in line {line}"
            fix = f"give this one a name of its own, such as name: {flow.id}-2"
            yield bound.loaded.finding(("flows", place), "double-name", message, fix)


def _shared_places(bound: Bound) -> Iterator[Finding]:
    """Places that two flows would write, or a flow and Sorbus itself."""
    company = bound.loaded.map
    names = Names(company.topic_prefix)
    taken = {f"topic {names.topic(one)}": f"holds {one} already: it is Sorbus's own" for one in company.data_types}
    by: dict[str, Flow] = {}
    for place, flow in sorted(bound.flows.items()):
        connector = bound.loaded.consumer(flow.flow.to)
        if not isinstance(connector, NeedsOwnPlace):
            continue
        where = connector.place_of(flow)
        other = by.setdefault(where, flow.flow)
        is_double = other is not flow.flow and (other.data_type, other.to) == (flow.flow.data_type, flow.flow.to)
        if (why := taken.get(where)) and not is_double:  # that is another finding
            message = f"{flow.flow.id}: {where} {why}"
            fix = (
                "write to another, or let a step make one data type of both: records of both with one id would replace"
                " each other; where ids never meet in a table, write shared: true under target"
            )
            yield bound.loaded.finding(("flows", place, "target"), "shared-place", message, fix)
        taken.setdefault(where, f"is written by flow {flow.flow.id} already")


def _resources(bound: Bound, place: int) -> dict[str, str]:
    found = bound.flows.get(place)
    return bound.loaded.consumer(found.flow.to).resources_of(found.options) if found is not None else {}


def _loops(bound: Bound) -> Iterator[Finding]:
    """Flows and steps of several data types that feed one another: what leaves a resource returns to it."""
    edges = list(_edges(bound))
    reported: set[frozenset[int]] = set()
    for edge in edges:
        circle = _way_back([edge], edges)
        if circle is None or (places := frozenset(step.place for step in circle)) in reported:
            continue
        reported.add(places)
        flows, steps = bound.loaded.map.flows, bound.loaded.map.steps
        known = {place: (flow.id, flow.data_type) for place, flow in enumerate(flows)}
        known |= {-1 - number: (step.id, step.source) for number, step in enumerate(steps)}
        way = " → ".join([" ".join(circle[0].start), *(f"{known[s.place][1]} {' '.join(s.end)}" for s in circle)])
        message = f"a loop: {way}"
        names = ", ".join(known[edge.place][0] for edge in circle)
        what = "flows" if min(places) >= 0 else "flows and steps"
        fix = f"delete one of these {what}: {names}; or let one system own all of it"
        last = max(places)
        path = ("flows", last) if last >= 0 else ("steps", -1 - last)
        yield bound.loaded.finding(path, "loop", message, fix)


def _edges(bound: Bound) -> Iterator[_Edge]:
    for place, flow in bound.flows.items():
        name = flow.flow.data_type
        source, owner = bound.sources.get(name), bound.owners.get(name)
        if (two_way := bound.loaded.two_way.get(name)) is not None:
            owner = two_way.system_of_record
            source = bound.sources.get(two_way.proposals(owner))
        if source is None or owner is None or owner == flow.flow.to:
            continue
        held = bound.loaded.producer(owner).resources_of(source.options)
        given = _resources(bound, place)
        for part in held.keys() & given.keys():
            start, end = (owner, _bare(held[part])), (flow.flow.to, _bare(given[part]))
            yield _Edge(place, start, end)
            if flow.flow.direction == "two-way":
                yield _Edge(place, end, start)
    for number, step in enumerate(bound.loaded.map.steps):
        owner, source = bound.owners.get(step.source), bound.sources.get(step.source)
        if owner is not None and source is not None and step.source != step.makes:
            for resource in bound.loaded.producer(owner).resources_of(source.options).values():
                yield _Edge(-1 - number, (owner, _bare(resource)), (step.id, step.source))


def _bare(resource: str) -> str:
    """A resource without its default schema: `customers` and `public.customers` are the same."""
    return resource.removeprefix("public.")


def _way_back(way: list[_Edge], edges: Sequence[_Edge]) -> list[_Edge] | None:
    """The shortest cycle that begins with `way`, using each flow once (a single two-way flow isn't a cycle)."""
    waiting = [way]
    visited = {way[0].end}
    while waiting:
        way = waiting.pop(0)
        if way[-1].end == way[0].start:
            return way
        taken = {step.place for step in way}
        for edge in edges:
            if (
                edge.start == way[-1].end
                and edge.place not in taken
                and (edge.end not in visited or edge.end == way[0].start)
            ):
                visited.add(edge.end)
                waiting.append([*way, edge])
    return None
