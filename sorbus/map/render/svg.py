"""A laid-out map as SVG: no script, network or embedded font; light or dark by the reader's preference."""

from __future__ import annotations

import re
from collections import Counter
from xml.etree import ElementTree as ET

from sorbus.map.render.diagram import DASHES, Arrow, Way, arrows
from sorbus.map.render.layout import (
    BOX_HEIGHT,
    LINE,
    MARGIN,
    OWNER_WIDTH,
    PILL_HEIGHT,
    ROW,
    TARGET_WIDTH,
    Box,
    Layout,
    LayoutRow,
    lay_out,
    shorten,
    text_width,
)
from sorbus.mapfile.model import STEP, Map

LIGHT = (
    *("#2563eb", "#d9480f", "#2b8a3e", "#9c36b5", "#0b7285", "#c2255c"),
    *("#866500", "#5f3dc4", "#087f5b", "#c92a2a", "#7a4a21", "#475569"),
)
DARK = (
    *("#7aa7ff", "#ff9d66", "#69d08a", "#d99bf0", "#55c8dc", "#ff8cb4"),
    *("#e6c34d", "#b0a0ff", "#4fd1a9", "#ff8a8a", "#d9a678", "#aab8cc"),
)
_ILLEGAL = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters not allowed in XML (XML 1.0, 2.2)."""

_STYLE = """
text { font-family: Inter, system-ui, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif; font-size: 13px }
.page { fill: #f8fafc } .box { fill: #ffffff; stroke: #94a3b8; stroke-width: 1.2 }
.shadow { stroke: #b45309; stroke-width: 1.8; stroke-dasharray: 7 5 } .rule { stroke: #e2e8f0 }
.title { font-size: 24px; font-weight: 700 } .name { font-size: 15px; font-weight: 650 }
.ink { fill: #0f172a } .soft { fill: #56657a; font-size: 12px } .warn { fill: #b45309; font-size: 12px }
.head { fill: #56657a; font-size: 11px; font-weight: 650; letter-spacing: 1.2px }
.pill { fill: #ffffff; stroke-width: 1.8 } .line { fill: none; stroke-width: 2; stroke-linecap: round }
.type { font-weight: 600 } .sample { stroke: #56657a }
g.arrow:hover .line { stroke-width: 4 }
"""
_DARK_STYLE = """
.page { fill: #0f172a } .box { fill: #1b2640; stroke: #52627d } .shadow { stroke: #f2b84b } .rule { stroke: #2c3a57 }
.ink { fill: #f1f5f9 } .soft, .head { fill: #a3b1c6 } .warn { fill: #f2b84b } .pill { fill: #0f172a }
.sample { stroke: #a3b1c6 }
"""


def svg(company: Map) -> str:
    """The map as one SVG document."""
    layout = lay_out(company)
    width, height = round(layout.width), round(layout.height)
    root = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {width} {height}",
            "width": str(width),
            "height": str(height),
            "role": "img",
        },
    )
    ET.SubElement(root, "title").text = f"The map of {company.company}"
    ET.SubElement(root, "style").text = _style()
    ET.SubElement(root, "rect", {"class": "page", "width": str(width), "height": str(height), "rx": "10"})
    _heading(root, company, layout)
    for box in layout.right:
        for row in box.rows:
            _arrow(root, layout, row)
    for box in layout.left:
        _owner(root, layout, box)
    for box in layout.right:
        _target(root, layout, box)
    _legend(root, layout)
    ET.indent(root)
    return _ILLEGAL.sub("", ET.tostring(root, encoding="unicode")) + "\n"


def _style() -> str:
    def colors(palette: tuple[str, ...]) -> str:
        return "".join(f".d{n} {{ stroke: {c} }} .f{n} {{ fill: {c} }}\n" for n, c in enumerate(palette))

    dark = f"@media (prefers-color-scheme: dark) {{{_DARK_STYLE}{colors(DARK)}}}"
    return f"{_STYLE}{colors(LIGHT)}{dark}\n"


def _heading(root: ET.Element, company: Map, layout: Layout) -> None:
    drawn = arrows(company)
    ways = Counter(arrow.way for arrow in drawn)
    steps = len(company.steps)
    systems = sum(system.kind != STEP for system in company.systems.values())
    parts = [f"{systems} systems", f"{len(company.data_types)} data types", f"{len(drawn)} flows"]
    parts += [f"{steps} process step{'s' * (steps != 1)}"] if steps else []
    parts += [f"{ways[way]} {way.value}" for way in (Way.MANUAL, Way.NONE) if ways[way]]
    _text(root, MARGIN, 52, company.company, "title ink")
    _text(root, MARGIN, 76, " · ".join(parts), "soft")
    for x, heading in ((MARGIN, "SYSTEM OF RECORD"), (layout.pill_x, "DATA TYPE"), (layout.target_x, "GOES TO")):
        _text(root, x, 112, heading, "head")


def _owner(root: ET.Element, layout: Layout, box: Box) -> None:
    group = ET.SubElement(root, "g")
    right = MARGIN + OWNER_WIDTH
    for pill in box.pills:
        shade = pill.color % len(LIGHT)
        _line(group, f"M{right:.0f} {pill.y:.1f}H{layout.pill_x:.0f}", shade, Way.LIVE)
        _dot(group, right, pill.y, shade)
        _rect(group, layout.pill_x, pill.y - PILL_HEIGHT / 2, pill.width, PILL_HEIGHT, f"pill d{shade}", 13)
        _text(group, layout.pill_x + pill.width / 2, pill.y + 4.5, pill.data_type, f"type f{shade}", "middle")
    _rect(group, MARGIN, box.y, OWNER_WIDTH, box.height, _box_class(box), 8)
    _names(group, MARGIN + 16, box.y + (box.height - BOX_HEIGHT) / 2, OWNER_WIDTH - 32, box)


def _target(root: ET.Element, layout: Layout, box: Box) -> None:
    group, x = ET.SubElement(root, "g"), layout.target_x
    _rect(group, x, box.y, TARGET_WIDTH, box.height, _box_class(box), 8)
    _names(group, x + 20, box.y - 2, TARGET_WIDTH - 36, box)
    rule = {"class": "rule", "x1": _px(x), "x2": _px(x + TARGET_WIDTH), "y1": _px(box.y + 51), "y2": _px(box.y + 51)}
    ET.SubElement(group, "line", rule)
    for row in box.rows:
        shade = row.color % len(LIGHT)
        _end(group, x, row.y, shade, row.arrow)
        _text(group, x + 20, row.y + 4.5, row.arrow.data_type, f"type f{shade}")
        if row.beside:
            _text(group, x + TARGET_WIDTH - 16, row.y + 4.5, row.lines[0], "soft", "end")
            continue
        for number, line in enumerate(row.lines):
            _text(group, x + 20, row.y + ROW / 2 + LINE * number + 9, line, "soft")


def _names(group: ET.Element, x: float, y: float, room: float, box: Box) -> None:
    tone = "warn" if box.shadow else "soft"
    kind_width = text_width(box.kind, 12)
    _text(group, x, y + 26, shorten(box.name, 15, room - kind_width - 12), "name ink")
    _text(group, x + room, y + 26, box.kind, tone, "end")
    _text(group, x, y + 44, shorten(box.owner, 12, room), tone)


def _arrow(root: ET.Element, layout: Layout, row: LayoutRow) -> None:
    arrow = row.arrow
    group = ET.SubElement(root, "g", {"class": "arrow"})
    ET.SubElement(group, "title").text = f"{arrow.data_type}: {arrow.source} to {arrow.target}, {arrow.text}"
    _line(group, layout.curve(row), row.color % len(LIGHT), arrow.way)
    if arrow.two_way:
        pill = layout.pill_of(arrow)
        _head(group, layout.pill_x + pill.width + 1, pill.y, row.color % len(LIGHT), -1)


def _end(group: ET.Element, x: float, y: float, shade: int, arrow: Arrow) -> None:
    if arrow.way is Way.NONE:
        _line(group, f"M{x - 9:.1f} {y - 5:.1f}l8 10m0 -10l-8 10", shade, Way.LIVE)
    else:
        _head(group, x, y, shade, 1)


def _head(group: ET.Element, x: float, y: float, shade: int, way: int) -> None:
    ET.SubElement(group, "path", {"class": f"f{shade}", "d": f"M{x:.1f} {y:.1f}l{-11 * way} -5.5v11z"})


def _legend(root: ET.Element, layout: Layout) -> None:
    x, y = MARGIN, layout.height - 30
    for way in Way:
        attributes = {"class": "line sample", "d": f"M{x:.0f} {y - 4:.0f}h40"}
        ET.SubElement(root, "path", attributes | ({"stroke-dasharray": DASHES[way]} if DASHES[way] else {}))
        _text(root, x + 50, y, way.value, "soft")
        x += 170
    _rect(root, x, y - 14, 40, 20, "box shadow", 5)
    _text(root, x + 50, y, "shadow: an unofficial system", "soft")


def _box_class(box: Box) -> str:
    return "box shadow" if box.shadow else "box"


def _rect(parent: ET.Element, x: float, y: float, width: float, height: float, style: str, radius: int) -> None:
    place = {"x": _px(x), "y": _px(y), "width": _px(width), "height": _px(height)}
    ET.SubElement(parent, "rect", {"class": style, "rx": str(radius), **place})


def _line(parent: ET.Element, path: str, shade: int, way: Way) -> None:
    dashes = {"stroke-dasharray": DASHES[way]} if DASHES[way] else {}
    ET.SubElement(parent, "path", {"class": f"line d{shade}", "d": path, **dashes})


def _dot(parent: ET.Element, x: float, y: float, shade: int) -> None:
    ET.SubElement(parent, "circle", {"class": f"f{shade}", "cx": _px(x), "cy": _px(y), "r": "4.5"})


def _text(parent: ET.Element, x: float, y: float, text: str, style: str, anchor: str = "start") -> None:
    element = ET.SubElement(parent, "text", {"class": style, "x": _px(x), "y": _px(y)})
    if anchor != "start":
        element.set("text-anchor", anchor)
    element.text = text


def _px(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
