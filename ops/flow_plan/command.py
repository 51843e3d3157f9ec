"""`sorbus plan FLOW`, behind the command `plan`."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sorbus.errors import ExitCode
from sorbus.ops.flow_plan.plan import NEEDS_PEOPLE, FlowPlan, PlannedRecord, Planner
from sorbus.ops.flow_plan.plan_file import compare_plan, plan_writer, read_plan
from sorbus.ops.flow_plan.records import OwnerRecords, TopicRecords
from sorbus.ops.flow_plan.report import comparison_json, plan_json, show_comparison, show_plan
from sorbus.settings import Settings
from sorbus.waiting.complete import consumer_of

if TYPE_CHECKING:
    from sorbus.map.loaded import LoadedMap


@dataclass(frozen=True, slots=True)
class FlowPlanRequest:
    """The options of `sorbus plan FLOW`."""

    flow: str
    from_owner: bool = False
    limit: int | None = None
    samples: int = 3
    out: Path | None = None
    compare: Path | None = None
    as_json: bool = False
    show_personal: bool = False


def plan_flow(loaded: LoadedMap, request: FlowPlanRequest) -> ExitCode:
    """Plans, or compares with an earlier plan, and shows it. TransientError, AuthError, UsageError."""
    settings, flow = Settings(), loaded.flow(request.flow)
    said = read_plan(request.compare) if request.compare is not None else None
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    is_silent = not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=is_silent) as bar:
        task = bar.add_task("reading", total=None)

        def progress(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total or None)

        topic = TopicRecords(settings, flow, progress)
        from_owner = request.from_owner or not topic.has_events()
        owner = OwnerRecords(loaded, flow, progress) if from_owner else None
        target = consumer_of(loaded.consumer(flow.flow.to), flow)
        records = Planner(flow, target, hide=not request.show_personal).run(owner or topic, limit=request.limit)
        if said is not None:
            found = compare_plan(said, records, lambda: owner.cut_short if owner is not None else "")
        else:
            plan = FlowPlan(request.flow, "owner" if from_owner else "topic")
            with plan_writer(request.out) if request.out else nullcontext(_pass_over) as write:
                for record in records:
                    plan.add(record, request.samples)
                    write(record)
            plan.is_cut = request.limit is not None and plan.counts.total() >= request.limit
            plan.cut_short = owner.cut_short if owner is not None else ""
    if said is not None:
        _tell(comparison_json(found)) if request.as_json else show_comparison(found)
        return ExitCode.FINDINGS if found.differences else ExitCode.FINE
    _tell(plan_json(plan)) if request.as_json else show_plan(plan)
    if request.out is not None:
        typer.echo(f"all records: {request.out}", err=True)
    return ExitCode.FINDINGS if plan.counts.keys() & NEEDS_PEOPLE or plan.cut_short else ExitCode.FINE


def _pass_over(record: PlannedRecord) -> None:
    """Writes nothing."""


def _tell(found: dict[str, object]) -> None:
    typer.echo(json.dumps(found, ensure_ascii=False))
