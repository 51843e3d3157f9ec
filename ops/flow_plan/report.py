"""A plan, and its comparison, as people read it and as JSON."""

from __future__ import annotations

import json

from rich.console import Console
from rich.table import Table

from sorbus.control_characters import escaped_markup as escape
from sorbus.ops.flow_plan.plan import WORDS, FlowPlan
from sorbus.ops.flow_plan.plan_file import PlanComparison

_MOST = 20


def show_plan(plan: FlowPlan) -> None:
    """Counts, changed fields and samples."""
    console = Console(highlight=False, soft_wrap=True)
    total = plan.counts.total()
    cut = ", cut short by --limit" if plan.is_cut else ""
    console.print(f"{escape(plan.flow)}: {total:,} records from the {plan.source}{cut}")
    table = Table(box=None, show_header=False, pad_edge=False)
    for action, word in WORDS.items():
        if plan.counts[action]:
            table.add_row(f"  {word}", f"{plan.counts[action]:,}")
    console.print(table)
    if plan.cut_short:
        console.print(f"Not all records were read: {escape(plan.cut_short)}")
    if plan.fields:
        console.print("Fields that change: " + escape(", ".join(f"{n} {c:,}" for n, c in plan.fields.most_common())))
    for action in WORDS:
        for one in plan.samples.get(action, ()) if action != "nothing" else ():
            console.print(f"  {escape(one.id)}: {action}: {escape(one.why)}")
            for name, value in one.changes.items() if action != "create" else ():
                old, new = value if isinstance(value, list) and len(value) == 2 else (None, value)
                console.print(f"    {escape(name)}: {escape(_text(old))} -> {escape(_text(new))}")


def plan_json(plan: FlowPlan) -> dict[str, object]:
    """The same as JSON."""
    return {
        "flow": plan.flow,
        "source": plan.source,
        "records": plan.counts.total(),
        "is_cut": plan.is_cut,
        "cut_short": plan.cut_short,
        "counts": {action: plan.counts[action] for action in WORDS},
        "fields": dict(plan.fields),
        "samples": {action: [one._asdict() for one in found] for action, found in plan.samples.items()},
    }


def show_comparison(found: PlanComparison) -> None:
    """What is as the plan said, and the first records that aren't."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"as planned: {found.as_said.total():,} records; otherwise: {len(found.differences):,}")
    for action, word in WORDS.items():
        if found.as_said[action]:
            console.print(f"  {word}: {found.as_said[action]:,}")
    for one in found.differences[:_MOST]:
        said = one.said or "not in the plan"
        console.print(f"  {escape(one.id)}: planned: {said}, now: {one.now or 'gone'}: {escape(one.why)}")
    if len(found.differences) > _MOST:
        console.print(f"  and {len(found.differences) - _MOST:,} more: --json lists all")


def comparison_json(found: PlanComparison) -> dict[str, object]:
    """The same as JSON, with every difference."""
    return {"as_planned": dict(found.as_said), "differences": [one._asdict() for one in found.differences]}


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
