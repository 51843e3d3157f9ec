"""The content of the map's drawing: its arrows and their labels, and the whole of it as Mermaid text."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from textwrap import shorten
from typing import NamedTuple

from sorbus.mapfile.model import STEP, DataType, Flow, Map, System

NOBODY = "(none)"
"""Stands for the missing owner in a drawing; no system can be called so."""


class Way(Enum):
    """How a flow is done."""

    LIVE = "runs by itself"
    MANUAL = "by hand"
    NONE = "not integrated"


DASHES = {Way.LIVE: "", Way.MANUAL: "9 6", Way.NONE: "1 6"}
"""Each line's dash pattern, as in SVG."""


class Arrow(NamedTuple):
    """A flow as drawn: from the system that has the data type to the one that receives it."""

    data_type: str
    source: str
    target: str
    way: Way
    text: str
    two_way: bool = False
    flow: str = ""
    """Empty for what a process step reads."""


def owners(data_type: DataType) -> list[str]:
    """The systems of record as written: one in a valid map, but an invalid map can be drawn too."""
    written = data_type.system_of_record
    return [written] if isinstance(written, str) else list(written or [])


def arrows(company: Map) -> list[Arrow]:
    """Every flow of the map, in its order; one without a source and owner comes from NOBODY."""
    return [_arrow(company, flow) for flow in company.flows]


def step_arrows(company: Map) -> list[Arrow]:
    """What each process step reads: from the owner of the data type to the step, which owns what it makes."""
    found = []
    for step in company.steps:
        data_type = company.data_types.get(step.source)
        source = next(iter(owners(data_type) if data_type else []), NOBODY)
        per = f" per {', '.join(step.per)}" if step.per else ""
        only = f", only {shorten(step.where, 60)}" if step.where else ""
        found.append(Arrow(step.source, source, step.id, Way.LIVE, f"makes {step.makes}{per}{only}"))
    return found


def _arrow(company: Map, flow: Flow) -> Arrow:
    data_type = company.data_types.get(flow.data_type)
    source = flow.source or next(iter(owners(data_type) if data_type else []), NOBODY)
    if flow.none is not None:
        way, text = Way.NONE, f"not integrated: {flow.none}"
    elif flow.manual is not None:
        way, text = Way.MANUAL, f"by hand, {flow.manual.schedule}: {flow.manual.responsible}"
    else:
        way, text = Way.LIVE, flow.timing + (f", only {shorten(flow.where, 60)}" if flow.where else "")
    two_way = flow.direction == "two-way" and way is not Way.NONE
    return Arrow(flow.data_type, source, flow.to, way, f"two-way, {text}" if two_way else text, two_way, flow.id)


def owned(company: Map, system: str) -> list[str]:
    """The data types that `system` is written to own, in the map's order."""
    return [name for name, data_type in company.data_types.items() if system in owners(data_type)]


def kind_of(system: System | None) -> str:
    """A drawing's label for how Sorbus talks to a system."""
    if system is None:
        return "not in the map"
    kind = "process step" if system.kind == STEP else system.kind
    return f"{kind}, shadow" if system.shadow else kind


def mermaid(company: Map) -> str:
    """The map as a Mermaid flowchart, for a page that renders it (GitHub, GitLab, Notion, a wiki)."""
    return "\n".join(_mermaid_lines(company)) + "\n"


def _mermaid_lines(company: Map) -> Iterator[str]:
    drawn = [*arrows(company), *step_arrows(company)]
    names = list(dict.fromkeys([*company.systems, *(end for arrow in drawn for end in (arrow.source, arrow.target))]))
    ids = {name: f"s{number}_{name.replace('-', '_')}" for number, name in enumerate(names, 1)}
    yield "---"
    yield f"title: {_yaml(company.company)}"
    yield "---"
    yield "flowchart LR"
    for name in names:
        system = company.systems.get(name)
        owns, person = ", ".join(owned(company, name)), system.owner if system else None
        lines = [name, " · ".join(filter(None, [kind_of(system), person])), f"owns {owns}" if owns else ""]
        label = "<br/>".join(_escape(line) for line in lines if line)
        yield f'    {ids[name]}["{label}"]{":::shadow" if system and system.shadow else ""}'
    for arrow in drawn:
        line = {Way.LIVE: "-->", Way.MANUAL: "-.->", Way.NONE: "-.-x"}[arrow.way]
        if arrow.two_way:
            line = f"<{line}"
        label = f"{_escape(arrow.data_type)}<br/>{_escape(arrow.text)}"
        yield f'    {ids[arrow.source]} {line}|"{label}"| {ids[arrow.target]}'
    yield "    classDef default rx:6,ry:6"
    yield "    classDef shadow stroke-dasharray:6 4"
    for way, dashes in ((Way.MANUAL, "8 5"), (Way.NONE, "1 5")):
        if numbers := [str(number) for number, arrow in enumerate(drawn) if arrow.way is way]:
            yield f"    linkStyle {','.join(numbers)} stroke-dasharray:{dashes}"


def _escape(text: str) -> str:
    """Mermaid reads #NAME; as a character and HTML as HTML; characters that could be either are escaped as numbers."""
    return "".join(f"#{ord(sign)};" if sign in '#"<>&`;\\' else sign for sign in _line(text))


def _yaml(text: str) -> str:
    return "'" + _line(text).replace("'", "''") + "'"


def _line(text: str) -> str:
    return "".join(sign for sign in " ".join(text.split()) if sign.isprintable())
