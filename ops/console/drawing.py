"""The live map: the map's own drawing, each box and arrow with how it is, and a link to its page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sorbus.map.render.diagram import DASHES, Arrow, Way
from sorbus.map.render.layout import (
    BOX_HEIGHT,
    MARGIN,
    OWNER_WIDTH,
    PILL_HEIGHT,
    TARGET_WIDTH,
    TOP,
    Box,
    Layout,
    LayoutRow,
    lay_out,
    shorten,
    text_width,
)
from sorbus.map.render.pages.flow_words import timing_in_words
from sorbus.mapfile.model import Map
from sorbus.ops.console.health_status import HealthBadges
from sorbus.ops.console.template_filters import number
from sorbus.ops.decisions.open_decisions import HealthBadge
from sorbus.ops.monitoring.flow_state import FlowState
from sorbus.ops.monitoring.measure import Measurement

COLORS = 12
"""Data types' colours in the style sheet: .d0 to .d11 for lines, .f0 to .f11 for what is filled."""

_STATE = 13.8
"""Pixels of a sign's letters: they are 12, but bold, and so an eighth wider than `text_width` says."""
_ABOVE, _BELOW = 40.0, 64.0
"""Room of the layout for the drawing's own heading and legend, which the page has instead."""


class DrawnSystem(NamedTuple):
    """A box: its corner, its size, and what stands in it."""

    box: Box
    x: float
    width: float
    middle: float
    """Where its two lines of text are, from the top of them."""
    sign: HealthBadge
    said: str
    """As much of the sign's text as there is room for."""
    name: str
    below: str


class DrawnFlow(NamedTuple):
    """An arrow with its row in the target's box."""

    row: LayoutRow
    path: str
    dashes: str
    sign: HealthBadge
    said: str
    figures: str

    @property
    def arrow(self) -> Arrow:
        return self.row.arrow

    @property
    def shade(self) -> int:
        return self.row.color % COLORS


class Drawing(NamedTuple):
    """All that map.svg.html draws; lengths in pixels."""

    layout: Layout
    systems: list[DrawnSystem]
    flows: list[DrawnFlow]
    top: float
    height: float
    pill_height: float = PILL_HEIGHT
    owner_right: float = MARGIN + OWNER_WIDTH


def draw_live(company: Map, signs: HealthBadges, measured: Measurement | None) -> Drawing:
    """The drawing of a map with its current state."""
    states = {state.flow: state for state in measured.flows} if measured else {}
    layout = lay_out(company, lambda _: [""])
    left = [_system(box, MARGIN, OWNER_WIDTH, (box.height - BOX_HEIGHT) / 2, signs) for box in layout.left]
    right = [_system(box, layout.target_x, TARGET_WIDTH, -2, signs) for box in layout.right]
    timings = {flow.id: flow.timing for flow in company.flows if flow.timing.startswith("cron")}
    flows = [_flow(layout, row, signs, states, timings) for box in layout.right for row in box.rows]
    return Drawing(layout, left + right, flows, TOP - _ABOVE, layout.height - TOP + _ABOVE - _BELOW)


def _system(box: Box, x: float, width: float, middle: float, signs: HealthBadges) -> DrawnSystem:
    sign = signs.systems.get(box.name, HealthBadge("idle", "not in the map"))
    name = shorten(box.name, 15.5, width * 0.6)
    said = _fitted(sign.text, width - 56 - text_width(name, 15.5))
    person = box.owner.partition(" <")[0]
    below = shorten(f"{box.kind} · {person}" if person else box.kind, 12, width - 32)
    return DrawnSystem(box, x, width, box.y + middle, sign, said, name, below)


def _flow(
    layout: Layout, row: LayoutRow, signs: HealthBadges, states: dict[str, FlowState], timings: Mapping[str, str]
) -> DrawnFlow:
    arrow = row.arrow
    if timing := timings.get(arrow.flow):
        arrow = arrow._replace(text=arrow.text.replace(timing, timing_in_words(timing), 1))
    state = states.get(arrow.flow)
    if arrow.way is not Way.LIVE or state is None:
        figures = arrow.text
    else:
        parts = [f"lag {number(state.lag_records)}"]
        parts += [f"{number(state.rate)}/s"] if state.rate and state.rate >= 0.5 else []
        dead = state.dead_letters
        parts += [f"{number(dead)} dead letter{'s' * (dead != 1)}"] if dead else []
        figures = " · ".join([*parts, arrow.text])
    dashes = DASHES[arrow.way]
    # A process step is a system: its own sign says how it is.
    sign = signs.flows[arrow.flow] if arrow.flow else signs.systems.get(arrow.target, HealthBadge("idle", "step"))
    said = _fitted(sign.text, TARGET_WIDTH - 56 - text_width(arrow.data_type, 13))
    return DrawnFlow(row, layout.curve(row), dashes, sign, said, shorten(figures, 12, TARGET_WIDTH - 40))


def _fitted(text: str, room: float) -> str:
    """What is said, without since when if that is too long."""
    return text if text_width(text, _STATE) <= room else shorten(text.partition(" since ")[0], _STATE, room)
