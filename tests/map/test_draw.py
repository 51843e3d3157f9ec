"""The map as Mermaid and as SVG."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.map.load import load_map
from sorbus.map.render.diagram import NOBODY, Way, arrows, mermaid
from sorbus.map.render.layout import PILL_HEIGHT, lay_out, shorten, text_width, wrap
from sorbus.map.render.svg import svg
from sorbus.mapfile.model import Map

Golden = Callable[[str, str], None]
SVG = "{http://www.w3.org/2000/svg}"


def small(**more: object) -> Map:
    """Two systems and one flow."""
    return Map.model_validate(
        {
            "systems": {"crm": {"kind": "postgres", "owner": "Sales"}, "books": {"kind": "http"}},
            "data_types": {"customer": {"system_of_record": "crm"}},
            "flows": [{"data_type": "customer", "to": "books"}],
            **more,
        }
    )


def texts(drawing: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(drawing).iter(f"{SVG}text")]


def test_the_mermaid_text_is_as_somebody_found_it_good(larkspur: Path, golden: Golden) -> None:
    golden("map.mmd", mermaid(load_map(larkspur).map))


def test_the_svg_is_as_somebody_found_it_good(larkspur: Path, golden: Golden) -> None:
    golden("map.svg", svg(load_map(larkspur).map))


def test_a_drawing_shows_who_owns_what_what_goes_where_and_when(larkspur: Path) -> None:
    company = load_map(larkspur).map
    shown = texts(svg(company))
    assert set(company.systems) <= set(shown)
    assert set(company.data_types) <= set(shown)
    assert {"Sales, first desk", "real-time", "every 15m", "spreadsheet, shadow"} <= set(shown)
    assert "10 systems · 11 data types · 33 flows · 2 by hand · 1 not integrated" in shown
    assert "by hand, first Monday of the month: Field sales" in shown
    assert "Finance wants to read them off the signed PDF" in " ".join(shown)


def test_manual_flows_are_dashed_and_flows_not_integrated_are_dotted() -> None:
    manual = {"checklist": ["a"], "schedule": "monthly", "responsible": "Sales", "verification": "b"}
    for flow, way, dashes in (
        ({"manual": manual}, Way.MANUAL, "9 6"),
        ({"none": "never changes"}, Way.NONE, "1 6"),
        ({}, Way.LIVE, None),
    ):
        company = small(flows=[{"data_type": "customer", "to": "books", **flow}])
        assert arrows(company)[0].way is way
        line = ET.fromstring(svg(company)).find(f".//{SVG}g[@class='arrow']/{SVG}path")
        assert line is not None
        assert line.get("stroke-dasharray") == dashes


def test_a_shadow_system_has_a_dashed_border() -> None:
    company = small(systems={"crm": {"kind": "postgres"}, "books": {"kind": "spreadsheet", "shadow": True}})
    boxes = [element.get("class") for element in ET.fromstring(svg(company)).iter(f"{SVG}rect")]
    assert boxes.count("box shadow") == 2, "the system's own and the legend's"
    assert ":::shadow" in mermaid(company)


def test_a_flawed_map_is_drawn_all_the_same() -> None:
    company = small(
        data_types={"customer": {"system_of_record": ["crm", "books"]}, "product": {}},
        flows=[
            {"data_type": "product", "to": "warehouse"},
            {"data_type": "invoice", "to": "crm", "from": "books"},
            {"data_type": "customer", "to": "crm"},
        ],
    )
    shown = texts(svg(company))
    assert {NOBODY, "warehouse", "not in the map", "invoice"} <= set(shown)
    assert "not in the map" in mermaid(company)


def test_an_empty_map_is_drawn_too() -> None:
    company = Map.model_validate({"systems": {}, "data_types": {}})
    assert "0 systems · 0 data types · 0 flows" in texts(svg(company))
    assert "flowchart LR" in mermaid(company)


HOSTILE = '<script>alert(1)</script> "quoted" `code` & #59; -->| end\x07'


def test_nothing_that_people_write_can_leave_its_place_in_the_drawing() -> None:
    company = small(
        company=HOSTILE,
        systems={"crm": {"kind": "postgres", "owner": HOSTILE}, "books": {"kind": "http"}},
        flows=[{"data_type": "customer", "to": "books", "none": HOSTILE}],
    )
    assert ET.fromstring(svg(company)).find(f".//{SVG}script") is None
    text = mermaid(company)
    assert text.replace("\n", "").isprintable()
    labels = re.findall(r'"([^"\n]*)"', text.split("flowchart LR")[1])
    assert len(labels) == 3, "two boxes and one arrow, each label with its two quotes only"
    assert not any("<script" in label or "`" in label for label in labels)


def test_boxes_rows_and_data_types_never_overlap(larkspur: Path) -> None:
    layout = lay_out(load_map(larkspur).map)
    for column in (layout.left, layout.right):
        spans = sorted((box.y, box.y + box.height) for box in column)
        assert all(before[1] < after[0] for before, after in pairwise(spans))
        assert spans[-1][1] < layout.height
    pills = sorted(pill.y for box in layout.left for pill in box.pills)
    assert all(after - before >= PILL_HEIGHT for before, after in pairwise(pills))


def test_sorting_leaves_few_crossings(larkspur: Path) -> None:
    company = load_map(larkspur).map
    layout = lay_out(company)
    starts = {(box.name, pill.data_type): pill.y for box in layout.left for pill in box.pills}
    ends = [(starts[row.arrow[1], row.arrow[0]], row.y) for box in layout.right for row in box.rows]
    crossings = sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for a, b in combinations(ends, 2))
    assert crossings <= 110, f"{crossings} of {len(ends) * (len(ends) - 1) // 2} pairs of arrows cross"


def test_a_large_map_is_laid_out_at_once() -> None:
    names = [f"s{number}" for number in range(60)]
    types = {f"d{number}": {"system_of_record": names[number % 60]} for number in range(120)}
    flows = [{"data_type": f"d{n % 120}", "to": names[(n * 7 + 1) % 60], "name": f"f{n}"} for n in range(600)]
    company = Map.model_validate(
        {"systems": {name: {"kind": "postgres"} for name in names}, "data_types": types, "flows": flows}
    )
    assert len(texts(svg(company))) > 1200


@given(st.text(max_size=200), st.floats(40, 400))
def test_wrapping_keeps_every_sign_and_the_width(text: str, width: float) -> None:
    lines = wrap(text, 12, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(text_width(line, 12) <= width for line in lines)


@given(st.text(max_size=80), st.floats(30, 300))
def test_shortening_keeps_the_width(text: str, width: float) -> None:
    assert text_width(shorten(text, 12, width), 12) <= max(width, text_width("…", 12))


@pytest.mark.parametrize("direction", ["one-way", "two-way"])
def test_only_a_two_way_flow_has_two_heads(direction: str) -> None:
    company = small(flows=[{"data_type": "customer", "to": "books", "direction": direction}])
    assert ("<-->" in mermaid(company)) == (direction == "two-way")
