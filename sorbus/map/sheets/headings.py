"""A documentation spreadsheet's structure: its columns, title rows and merged cells.

Headings need not be on the first row, may be in two rows (Source over System, Table, Field), and may name the systems
themselves (CRM field, Accounting field). A cell that is empty because the one above it spans many rows is filled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sorbus.map.sheets.workbook import Line

_HIGHEST = 60
_SIDES: Mapping[str, frozenset[str]] = {
    "source": frozenset(
        ["source", "src", "from", "legacy", "old", "origin", "original", "input", "quelle", "von", "quell"]
    ),
    "target": frozenset(["target", "tgt", "to", "destination", "dest", "new", "output", "ziel", "nach", "zu", "into"]),
}
_WHATS: Mapping[str, frozenset[str]] = {
    "system": frozenset(["system", "application", "app", "database", "db", "software", "tool", "anwendung"]),
    "table": frozenset(
        [
            "table",
            "object",
            "entity",
            "sheet",
            "resource",
            "file",
            "module",
            "screen",
            "tab",
            "record",
            "tabelle",
            "objekt",
        ]
    ),
    "field": frozenset(["field", "fields", "column", "attribute", "element", "property", "feld", "spalte", "item"]),
}
_RULE = frozenset(
    [
        "transformation",
        "transformations",
        "transform",
        "logic",
        "rule",
        "rules",
        "conversion",
        "regel",
        "formula",
        "processing",
    ]
)
_NOTES = frozenset(["note", "notes", "comment", "comments", "remark", "remarks", "bemerkung", "bemerkungen"])
_KNOWN_WHATS = frozenset().union(*_WHATS.values())
_FILLING = frozenset(["name", "names", "the", "of", "s", "in", "maps", "map", "mapped", "mapping"])


class Side(NamedTuple):
    """One side of a row, each field "" if not given."""

    system: str
    table: str
    field: str


class PlainRow(NamedTuple):
    """A row of a documentation spreadsheet. `others` are the cells of unrecognised columns."""

    line: int
    section: str
    source: Side
    target: Side
    logic: str
    notes: str
    others: tuple[str, ...]


@dataclass(slots=True)
class _Head:
    """Columns by content ("source.field", "rule"), the systems that headings name, and all headings."""

    columns: dict[str, int] = field(default_factory=dict)
    systems: dict[str, str] = field(default_factory=dict)
    headings: list[str] = field(default_factory=list)

    @property
    def is_enough(self) -> bool:
        return {"source.field", "target.field"} <= self.columns.keys()


def plain_rows(lines: Sequence[Line], systems: Iterable[str]) -> Iterator[PlainRow]:
    """The rows of one tab below its headings; none if there are no headings. `systems` are the map's."""
    names = {" ".join(_words(name)): name for name in systems}
    begin, head = _find_head(lines, names)
    section = ""
    above: dict[str, str] = {}
    for number, cells in lines[begin:]:
        texts = [*cells, *[""] * (len(head.headings) - len(cells))]
        filled = [text for text in texts if text]
        if not filled or texts[: len(head.headings)] == head.headings:
            continue
        if len(filled) == 1 and (not texts[head.columns["source.field"]] or _names_two(filled[0], names)):
            section, above = filled[0], {}
            continue
        if len(set(filled)) == 1 and len(filled) > 2:  # a merged title, repeated when it was saved
            section, above = filled[0], {}
            continue
        yield _row(number, section, texts, head, above)


def _names_two(text: str, systems: Iterable[str]) -> bool:
    """Whether a text is a title such as `CRM to Accounting`."""
    spaced = f" {' '.join(_words(text))} "
    return sum(f" {name} " in spaced for name in systems) > 1


def _row(number: int, section: str, texts: Sequence[str], head: _Head, above: dict[str, str]) -> PlainRow:
    sides = []
    for side in _SIDES:
        found = {what: texts[head.columns[key]] if (key := f"{side}.{what}") in head.columns else "" for what in _WHATS}
        found["system"] = found["system"] or head.systems.get(side, "")
        for what in ("system", "table"):
            if found[what]:
                above[f"{side}.{what}"] = found[what]
            elif f"{side}.{what}" in head.columns:
                found[what] = above.get(f"{side}.{what}", "")
        sides.append(Side(found["system"], found["table"], found["field"]))
    known = set(head.columns.values())
    others = tuple(
        f"{heading}: {text}" if heading else text
        for place, (heading, text) in enumerate(zip(_longer(head.headings, len(texts)), texts, strict=False))
        if text and place not in known
    )
    logic, notes = (texts[head.columns[key]] if key in head.columns else "" for key in ("rule", "notes"))
    return PlainRow(number, section, sides[0], sides[1], logic, notes, others)


def _longer(headings: Sequence[str], size: int) -> list[str]:
    return [*headings, *[""] * (size - len(headings))]


def _find_head(lines: Sequence[Line], systems: Mapping[str, str]) -> tuple[int, _Head]:
    """The first data row, and the headings."""
    for place, (_, cells) in enumerate(lines[:_HIGHEST]):
        if place + 1 < len(lines):
            joined = _two_rows(cells, lines[place + 1][1])
            if joined is not None and (head := _head(joined, systems)).is_enough:
                head.headings = list(lines[place + 1][1])
                return place + 2, head
        if (head := _head(cells, systems)).is_enough:
            return place + 1, head
    return len(lines), _Head()


def _two_rows(upper: Sequence[str], lower: Sequence[str]) -> list[str] | None:
    """Headings in two rows, as one row; None if the lower row isn't headings."""
    known = _KNOWN_WHATS | _RULE | _NOTES | _FILLING
    written = [text for text in lower if text]
    if len(written) < 3 or not all(frozenset(_words(text)) <= known for text in written):
        return None
    out, over = [], ""
    for place in range(max(len(upper), len(lower))):
        over = (upper[place] if place < len(upper) else "") or over
        below = lower[place] if place < len(lower) else ""
        alone = frozenset(_words(below)) & (_RULE | _NOTES) or not below
        out.append(below if alone and below else f"{over} {below}".strip() if below else "")
        if not below and place < len(upper):
            out[-1] = upper[place]
    return out


def _head(cells: Sequence[str], systems: Mapping[str, str]) -> _Head:
    head = _Head(headings=list(cells))
    for place, text in enumerate(cells):
        if key := _meaning(text, systems, head):
            head.columns.setdefault(key, place)
    return head


def _meaning(text: str, systems: Mapping[str, str], head: _Head) -> str:
    """The content that a heading announces: "source.table", "rule", "notes", or "" if unrecognised."""
    found = _words(text)
    said = frozenset(found)
    side = next((name for name, words in _SIDES.items() if said & words), "")
    if said & _RULE and not said & _KNOWN_WHATS:
        return "rule"
    if said & _NOTES and not side:
        return "notes"
    rest = said - _FILLING
    for name, system in sorted(systems.items(), key=lambda item: -len(item[0])):
        if not side and f" {name} " in f" {' '.join(found)} ":
            rest -= frozenset(name.split())
            side = next((own for own, known in head.systems.items() if known == system), "")
            side = side or ("target" if "source" in head.systems else "source")
            head.systems.setdefault(side, system)
            break
    if not side or rest - _KNOWN_WHATS - frozenset().union(*_SIDES.values()):
        return ""
    return f"{side}.{next((name for name, words in _WHATS.items() if rest & words), 'field')}"


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower())
