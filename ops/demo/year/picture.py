"""The run drawn: every flow with what it carried, and each month's end with what had to be settled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import sqrt
from xml.etree import ElementTree as ET

from sorbus.map.render.svg import LIGHT
from sorbus.mapfile.model import Map
from sorbus.ops.demo.year.faults import Outcome
from sorbus.ops.demo.year.run import MonthEnd

_WIDTH, _MARGIN = 1180, 40
_BOX, _ROW, _GAP = 170, 26, 20
_TYPE_X, _TARGET_X = 390, 860
_BARS, _FAULT = 150, 36
_ALONE = "started again; nothing else to do"
_STYLE = """
text { font-family: Inter, system-ui, "Segoe UI", "Liberation Sans", Arial, sans-serif; font-size: 13px; fill: #0f172a }
.page { fill: #f8fafc } .box { fill: #ffffff; stroke: #94a3b8 } .soft { fill: #56657a; font-size: 11.5px }
.title { font-size: 24px; font-weight: 700 } .head { fill: #56657a; font-size: 11px; font-weight: 650 }
.bar { fill: #2563eb } .late { fill: #d9480f } .fault { fill: #c92a2a; font-size: 11.5px } .ok { fill: #2b8a3e }
.rule { stroke: #e2e8f0 } .flow { fill: none; stroke-linecap: round; opacity: .55 }
"""


def picture(company: Map, months: Sequence[MonthEnd], done: Mapping[str, int]) -> str:
    """One SVG document: the flows above, the months below."""
    root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img"})
    ET.SubElement(root, "title").text = f"A year of {company.company}"
    ET.SubElement(root, "style").text = _STYLE
    page = ET.SubElement(root, "rect", {"class": "page", "width": str(_WIDTH), "rx": "10"})
    moved: Counter[str] = Counter()
    for month in months:
        moved.update(month.moved)
    _text(root, _MARGIN, 48, f"{company.company}: {_span(len(months))}", "title")
    _text(
        root,
        _MARGIN,
        72,
        _summary(
            months, sum(one.kind != "step" for one in company.systems.values()), sum(done.values()), sum(moved.values())
        ),
        "soft",
    )
    bottom = _flows(root, company, moved, 112)
    bottom = _months(root, months, bottom + 40)
    page.set("height", str(bottom))
    root.set("viewBox", f"0 0 {_WIDTH} {bottom}")
    root.set("width", str(_WIDTH))
    root.set("height", str(bottom))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def _summary(months: Sequence[MonthEnd], systems: int, events: int, delivered: int) -> str:
    faults = [one for month in months for one in month.faults]
    steps = sum(len(one.steps) for one in faults)
    return (
        f"{events:,} events in {systems} systems, {delivered:,} records delivered, {len(faults)} faults,"
        f" {steps} steps by people; at each month's end every system equal to the ledger, to the cent"
    )


def _flows(root: ET.Element, company: Map, moved: Mapping[str, int], top: float) -> float:
    """Owners on the left, data types, and where they go on the right; widths grow with the records."""
    for x, words in (
        (_MARGIN, "SYSTEM OF RECORD"),
        (_TYPE_X, "DATA TYPE"),
        (_TARGET_X, "GOES TO, RECORDS DELIVERED (THE MORE THE WIDER)"),
    ):
        _text(root, x, top, words, "head")
    types = sorted(company.data_types, key=lambda name: (_owner(company, name), name))
    flows = [flow for flow in company.flows if flow.runs]
    largest = max([1, *moved.values()])
    places: dict[str, list[int]] = {}
    for flow in flows:
        places.setdefault(flow.to, []).append(types.index(flow.data_type))
    into = sorted(places, key=lambda to: sum(places[to]) / len(places[to]))
    right, y = {}, top + 18
    for system in into:
        rows = sorted((flow for flow in flows if flow.to == system), key=lambda flow: types.index(flow.data_type))
        height = len(rows) * _ROW + 8
        _box(root, _TARGET_X, y, height)
        _system(root, _TARGET_X + _BOX + 12, y + height / 2, company, system)
        for place, flow in enumerate(rows):
            right[flow.id] = y + 17 + place * _ROW
        y += height + _GAP
    bottom, step = y, (y - top - 30) / len(types)
    left = {name: top + 18 + step * (place + 0.5) for place, name in enumerate(types)}
    for flow in flows:
        color = LIGHT[types.index(flow.data_type) % len(LIGHT)]
        here, there, count = left[flow.data_type], right[flow.id], moved.get(flow.id, 0)
        half = (_TYPE_X + 110 + _TARGET_X) / 2
        ET.SubElement(root, "path", {
            "class": "flow", "stroke": color, "stroke-width": f"{1 + 11 * sqrt(count / largest):.1f}",
            "d": f"M{_TYPE_X + 110} {here:.0f}C{half:.0f} {here:.0f} {half:.0f} {there:.0f} {_TARGET_X} {there:.0f}",
        })  # fmt: skip
        _text(root, _TARGET_X + _BOX - 10, there + 4, f"{count:,}", "soft", "end")
        _text(root, _TARGET_X + 10, there + 4, flow.data_type, "soft")
    for system in dict.fromkeys(_owner(company, name) for name in types):
        own = [left[name] for name in types if _owner(company, name) == system]
        _box(root, _MARGIN, min(own) - 18, max(own) - min(own) + 36)
        _system(root, _MARGIN + 12, (min(own) + max(own)) / 2, company, system)
    for name in types:
        color = LIGHT[types.index(name) % len(LIGHT)]
        line = f"M{_MARGIN + _BOX} {left[name]:.0f}H{_TYPE_X}"
        ET.SubElement(root, "path", {"class": "flow", "stroke": color, "stroke-width": "3", "d": line})
        ET.SubElement(root, "rect", {
            "class": "box", "style": f"stroke: {color}", "x": str(_TYPE_X), "y": f"{left[name] - 13:.0f}",
            "width": "110", "height": "26", "rx": "13",
        })  # fmt: skip
        _text(root, _TYPE_X + 55, left[name] + 4, name, "", "middle")
    return bottom


def _months(root: ET.Element, months: Sequence[MonthEnd], top: float) -> float:
    """A line for each month: its events, what had to be settled at its end, the report, and what went wrong."""
    columns = (("MONTH", 0), ("EVENTS", 60), ("DIFFERENT AT ITS END", 230), ("THEN EQUAL", 400), ("SOLD, OWED", 520),
               ("WHAT WENT WRONG, WHERE IT WAS SEEN, WHAT PEOPLE DID", 670))  # fmt: skip
    for words, x in columns:
        _text(root, _MARGIN + x, top, words, "head")
    most = max([1, *(one.events for one in months), *(sum(one.unsettled.values()) for one in months)])
    y = top + 12
    for month in months:
        line = {"class": "rule", "x1": str(_MARGIN), "x2": str(_WIDTH - _MARGIN), "y1": f"{y:.0f}", "y2": f"{y:.0f}"}
        ET.SubElement(root, "line", line)
        middle, x = y + 22, _MARGIN
        late = sum(month.unsettled.values())
        _text(root, x, middle, f"{month.month:02}")
        _bar(root, x + 60, middle - 11, _BARS * month.events / most, "bar")
        _text(root, x + 60, middle + 16, f"{month.events:,}", "soft")
        _bar(root, x + 230, middle - 11, _BARS * late / most, "late")
        _text(root, x + 230, middle + 16, f"{late:,} records, for {month.settled:.0f} s", "soft")
        _text(root, x + 400, middle, f"{month.records:,} records", "ok")
        _text(root, x + 400, middle + 16, f"in {month.relations} relations", "soft")
        _text(root, x + 520, middle, f"{Decimal(month.sold):,} €")
        _text(root, x + 520, middle + 16, f"{Decimal(month.owed):,} €")
        _text(root, x + 520, middle + 32, f"in {len(month.reported)} systems, to the cent", "soft")
        for place, fault in enumerate(month.faults):
            _fault(root, x + 670, middle + place * _FAULT, fault)
        y += max(66, 22 + _FAULT * len(month.faults))
    return y + 30


def _fault(root: ET.Element, x: float, y: float, fault: Outcome) -> None:
    """Two lines; what Sorbus said, and each step, show when pointed at."""
    group = ET.SubElement(root, "g")
    ET.SubElement(group, "title").text = "\n".join([fault.words, *fault.steps]).strip() or fault.fault
    _text(group, x, y, f"week {fault.week}: {fault.fault}", "fault")
    seen = f"{fault.command}, then " if fault.command else ""
    steps, more = fault.steps, f" (and {len(fault.steps) - 1} more)" if len(fault.steps) > 1 else ""
    _text(group, x + 12, y + 15, f"{seen}{shortened(steps[0], 70 - len(seen) - len(more))}{more}" if steps else _ALONE,
          "soft")  # fmt: skip


def shortened(words: str, most: int) -> str:
    """At most so many characters, cut at a blank."""
    return words if len(words) <= most else f"{words[:most].rpartition(' ')[0]} ..."


def _owner(company: Map, data_type: str) -> str:
    return str(company.data_types[data_type].system_of_record)


def _span(months: int) -> str:
    return "a year" if months == 12 else f"{months} month{'s' * (months != 1)}"


def _box(root: ET.Element, x: float, y: float, height: float) -> None:
    size = {"x": str(x), "y": f"{y:.0f}", "width": str(_BOX), "height": f"{height:.0f}", "rx": "8"}
    ET.SubElement(root, "rect", {"class": "box", **size})


def _system(root: ET.Element, x: float, middle: float, company: Map, name: str) -> None:
    """Its name, and what it stands on."""
    _text(root, x, middle - 3, name)
    _text(root, x, middle + 12, company.systems[name].kind if name in company.systems else "", "soft")


def _bar(root: ET.Element, x: float, y: float, width: float, kind: str) -> None:
    size = {"x": str(x), "y": f"{y:.0f}", "width": f"{width:.1f}", "height": "14", "rx": "2"}
    ET.SubElement(root, "rect", {"class": kind, **size})


def _text(root: ET.Element, x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> None:
    place = {"x": f"{x:.0f}", "y": f"{y:.0f}", "text-anchor": anchor, **({"class": kind} if kind else {})}
    ET.SubElement(root, "text", place).text = words
