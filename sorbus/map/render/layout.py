"""Where everything of a drawn map goes: systems of record on the left, their data types beside them, targets right.

Each data type has one owner, so the left half never crosses; the boxes and rows on the right are ordered by the
barycentre heuristic (Sugiyama, Tagawa and Toda, 1981) and then by swaps of neighbours while those remove crossings.
All lengths are pixels; y grows downwards.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from sorbus.map.render.diagram import Arrow, arrows, kind_of, owned, step_arrows
from sorbus.mapfile.model import Map

MARGIN, TOP = 32.0, 132.0
OWNER_WIDTH, TARGET_WIDTH, PILL_GAP, CHANNEL = 256.0, 340.0, 44.0, 300.0
PILL_HEIGHT, PILL_PITCH, BOX_HEIGHT, BOX_GAP, WIDEST_GAP = 26.0, 36.0, 58.0, 22.0, 90.0
HEADER, ROW, LINE, PADDING = 54.0, 24.0, 16.0, 10.0
SWAP_LIMIT = 150
"""Maximum arrows for swapping neighbours; with more, the barycentre's order is final."""


@dataclass(slots=True)
class Pill:
    """A data type beside its owner."""

    data_type: str
    color: int
    width: float
    y: float = 0.0
    """Vertical centre."""


@dataclass(slots=True)
class LayoutRow:
    """One arrow's end in its target's box: the data type, and lines that say when and how."""

    arrow: Arrow
    color: int
    lines: list[str]
    beside: bool
    """Whether the one line fits beside the data type's name."""
    y: float = 0.0
    """Vertical centre of its first line, where the arrow ends."""

    @property
    def height(self) -> float:
        return ROW + (0 if self.beside else LINE * len(self.lines) + 4)


@dataclass(slots=True)
class Box:
    """A system, on the left with its data types or on the right with the arrows that end in it."""

    name: str
    kind: str
    owner: str
    shadow: bool
    pills: list[Pill] = field(default_factory=list)
    rows: list[LayoutRow] = field(default_factory=list)
    y: float = 0.0
    """Its top."""

    @property
    def height(self) -> float:
        if self.rows:
            return HEADER + sum(row.height for row in self.rows) + PADDING
        return max(BOX_HEIGHT, PILL_PITCH * len(self.pills))


@dataclass(frozen=True, slots=True)
class Layout:
    """A whole drawing, measured."""

    left: list[Box]
    right: list[Box]
    pill_x: float
    target_x: float
    width: float
    height: float

    def pill_of(self, arrow: Arrow) -> Pill:
        """Where an arrow begins."""
        (box,) = (box for box in self.left if box.name == arrow.source)
        return next(pill for pill in box.pills if pill.data_type == arrow.data_type)

    def curve(self, row: LayoutRow) -> str:
        """The path of a row's arrow from its data type to its target, as an SVG path."""
        pill = self.pill_of(row.arrow)
        start, end = self.pill_x + pill.width, self.target_x - 9
        bend = (end - start) / 2
        return (
            f"M{start:.1f} {pill.y:.1f}"
            f"C{start + bend:.1f} {pill.y:.1f} {end - bend:.1f} {row.y:.1f} {end:.1f} {row.y:.1f}"
        )


def lay_out(company: Map, lines_of: Callable[[Arrow], list[str]] | None = None) -> Layout:
    """Measures and places a map's drawing. `lines_of` overrides the labels of an arrow."""
    drawn = [*arrows(company), *step_arrows(company)]
    colors = {name: number for number, name in enumerate(dict.fromkeys([*company.data_types, *(a[0] for a in drawn)]))}
    left, right = _left(company, drawn, colors), _right(company, drawn, colors, lines_of)
    _order(left, right)
    height = max(_stack(left), _stack(right))
    for column in (left, right):
        gap = min(WIDEST_GAP, BOX_GAP + (height - _stack(column)) / max(1, len(column) - 1))
        _stack(column, TOP + (height - _stack(column, gap=gap)) / 2, gap)
    pill_x = MARGIN + OWNER_WIDTH + PILL_GAP
    target_x = pill_x + max((pill.width for box in left for pill in box.pills), default=0) + CHANNEL
    return Layout(left, right, pill_x, target_x, target_x + TARGET_WIDTH + MARGIN, TOP + height + 76)


def _left(company: Map, drawn: Sequence[Arrow], colors: dict[str, int]) -> list[Box]:
    """Owners with their data types, then systems that have no arrow at all; an odd source counts as an owner."""
    types = {name: owned(company, name) for name in company.systems}
    for arrow in drawn:
        known = types.setdefault(arrow.source, [])
        if arrow.data_type not in known:
            known.append(arrow.data_type)
    targets = {arrow.target for arrow in drawn}
    boxes = []
    for name, own in types.items():
        if own or name not in targets:
            box = _box(company, name)
            box.pills = [Pill(each, colors[each], text_width(each, 13) + 28) for each in own]
            boxes.append(box)
    return sorted(boxes, key=lambda box: not box.pills)


def _right(
    company: Map, drawn: Sequence[Arrow], colors: dict[str, int], lines_of: Callable[[Arrow], list[str]] | None
) -> list[Box]:
    boxes: dict[str, Box] = {}
    for arrow in drawn:
        box = boxes.setdefault(arrow.target, _box(company, arrow.target))
        if lines_of is not None:
            box.rows.append(LayoutRow(arrow, colors[arrow.data_type], lines_of(arrow), beside=False))
            continue
        room = TARGET_WIDTH - 44
        beside = text_width(arrow.data_type, 13) + 16 + text_width(arrow.text, 12) <= room
        lines = [arrow.text] if beside else wrap(arrow.text, 12, room)
        box.rows.append(LayoutRow(arrow, colors[arrow.data_type], lines, beside))
    return list(boxes.values())


def _box(company: Map, name: str) -> Box:
    system = company.systems.get(name)
    owner = (system.owner or "no contact") if system else ""
    return Box(name, kind_of(system), owner, bool(system and system.shadow))


def _stack(column: Sequence[Box], top: float = 0.0, gap: float = BOX_GAP) -> float:
    """Stacks boxes from `top`, with their content; returns their total height."""
    y = top
    for box in column:
        box.y = y
        first = y + (box.height - PILL_PITCH * len(box.pills)) / 2 + PILL_PITCH / 2
        for number, pill in enumerate(box.pills):
            pill.y = first + PILL_PITCH * number
        below = y + HEADER
        for row in box.rows:
            row.y = below + ROW / 2
            below += row.height
        y += box.height + gap
    return max(0.0, y - gap - top)


def _order(left: list[Box], right: list[Box]) -> None:
    """Sorts boxes, pills and rows so that few arrows cross."""
    for _ in range(4):
        _stack(left)
        starts = {(box.name, pill.data_type): pill.y for box in left for pill in box.pills}
        for box in right:
            box.rows.sort(key=lambda row: starts[row.arrow.source, row.arrow.data_type])
        right.sort(key=lambda box: fmean(starts[row.arrow.source, row.arrow.data_type] for row in box.rows))
        _stack(right)
        ends: dict[tuple[str, str], list[float]] = {}
        for box in right:
            for row in box.rows:
                ends.setdefault((row.arrow.source, row.arrow.data_type), []).append(row.y)
        for box in left:
            box.pills.sort(key=lambda pill: _mean(ends, box.name, [pill]))
        left.sort(key=lambda box: _mean(ends, box.name, box.pills))
    if sum(len(box.rows) for box in right) <= SWAP_LIMIT:
        _swap(left, right)


def _mean(ends: dict[tuple[str, str], list[float]], system: str, pills: Sequence[Pill]) -> float:
    """The mean position of these data types' arrows; below everything if there are none."""
    found = [y for pill in pills for y in ends.get((system, pill.data_type), [])]
    return fmean(found) if found else float("inf")


def _swap(left: list[Box], right: list[Box]) -> None:
    best = _crossings(left, right)
    improved = True
    while improved and best:
        improved = False
        columns: list[list[Box] | list[Pill] | list[LayoutRow]] = [left, right]
        columns += [box.pills for box in left] + [box.rows for box in right]
        for column in columns:
            for place in range(len(column) - 1):
                _exchange(column, place)
                if (now := _crossings(left, right)) < best:
                    best, improved = now, True
                else:
                    _exchange(column, place)


def _exchange(column: list[Box] | list[Pill] | list[LayoutRow], place: int) -> None:
    column[place : place + 2] = column[place : place + 2][::-1]  # type: ignore[assignment]


def _crossings(left: Sequence[Box], right: Sequence[Box]) -> int:
    """Number of crossing pairs of arrows, by position alone."""
    starts: dict[tuple[str, str], int] = {}
    for box in left:
        for pill in box.pills:
            starts[box.name, pill.data_type] = len(starts)
    order = [starts[row.arrow.source, row.arrow.data_type] for box in right for row in box.rows]
    return sum(before > after for place, after in enumerate(order) for before in order[:place])


def text_width(text: str, size: float) -> float:
    """Approximate width of `text` in a sans-serif face of `size` pixels, rather too wide than too narrow."""
    return size * sum(_em(sign) for sign in text)


def _em(sign: str) -> float:
    if unicodedata.east_asian_width(sign) in "WF":
        return 1.05
    if sign in "iljtf.,:;'|!()[] I-":
        return 0.36
    return 0.86 if sign in "mwMW@%—" else 0.7 if sign.isupper() else 0.58


def wrap(text: str, size: float, width: float) -> list[str]:
    """Breaks `text` at spaces (a longer word anywhere) into lines no wider than `width`."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer, size) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for sign in word:
            if text_width(lines[-1] + sign, size) > width:
                lines.append("")
            lines[-1] += sign
    return lines


def shorten(text: str, size: float, width: float) -> str:
    """`text`, or as much of it as fits in `width` with an ellipsis."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(f"{text}…", size) > width:
        text = text[:-1]
    return f"{text.rstrip()}…"
