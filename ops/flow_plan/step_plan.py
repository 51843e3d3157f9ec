"""`sorbus plan STEP`: what a process step would make of everything that its topic holds now. Nothing is published."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from hashlib import blake2b

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from sorbus.abilities import SupportsScan
from sorbus.bus.names import Names
from sorbus.bus.positions import read_positions
from sorbus.bus.published import published_records
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.connector import BoundSource, RejectedRecord
from sorbus.control_characters import escaped
from sorbus.errors import ExitCode, UsageError
from sorbus.map.loaded import LoadedMap
from sorbus.mapfile.model import ProcessStep
from sorbus.privacy.errors import Privacy, source_privacy
from sorbus.settings import Settings

_WORDS = {
    "create": "made", "update": "made again, changed", "nothing": "unchanged", "delete": "deleted", "keep": "kept",
    "earlier": "from before the step began: make nothing", "refuse": "refused (dead letters)",
}  # fmt: skip


@dataclass(slots=True)
class StepPlan:
    """The counts, and a few records that are refused: id and why."""

    step: str
    makes: str
    has_begun: bool
    counts: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[str, str]] = field(default_factory=list)


def plan_step(loaded: LoadedMap, name: str, *, samples: int, as_json: bool, show_personal: bool) -> ExitCode:
    """Plans, and shows it. TransientError, AuthError."""
    step = next(step for step in loaded.map.steps if step.id == name)
    settings, names = Settings(), Names(loaded.map.topic_prefix)
    has_begun = name in read_positions(settings, names)
    source = loaded.source(step.makes)
    is_earlier = step.begin == "now" and not has_begun
    if is_earlier:  # what fits at this moment is what will make nothing
        source = _from_the_beginning(source)
    privacy = None if show_personal else source_privacy(source, loaded.producer(name).resources_of(source.options))
    plan = StepPlan(name, step.makes, has_begun)
    progress = Progress(SpinnerColumn(), TextColumn("{task.description}"), console=Console(stderr=True), transient=True)
    progress.disable = not sys.stderr.isatty()
    with progress:
        task = progress.add_task("reading what is made")
        published = {
            record.id: _digest(record.data)
            for record in published_records(
                settings, names.topic(step.makes), SchemaResolver(settings, names, [source.schema]), source.schema
            )
        }
        made = set()
        connector = loaded.producer(name)
        assert isinstance(connector, SupportsScan)
        for batch in connector.scan(loaded.system(name, "producer"), source):
            for one in batch:
                made.add(one.id)
                if isinstance(one, RejectedRecord):
                    _refuse(plan, one, privacy, samples)
                elif is_earlier:
                    plan.counts["earlier"] += 1
                else:
                    before = published.get(one.id)
                    is_same = before == _digest(one.data or b"")
                    plan.counts["create" if before is None else "nothing" if is_same else "update"] += 1
            progress.update(task, description=f"{plan.counts.total():,} records of {step.makes}")
    plan.counts[step.on_leave] += len(published.keys() - made)
    typer.echo(json.dumps(_as_json(plan), ensure_ascii=False)) if as_json else _show(plan, step)
    return ExitCode.FINDINGS if plan.counts["refuse"] else ExitCode.FINE


def require_step_options(**given: object) -> None:
    """UsageError for options that only a flow's plan knows."""
    if wrong := [name for name, value in given.items() if value]:
        raise UsageError(f"a process step's plan knows no --{wrong[0]}: leave it out, or name a flow")


def _from_the_beginning(source: BoundSource) -> BoundSource:
    return replace(source, options=source.options.model_copy(update={"begin": "beginning"}))


def _refuse(plan: StepPlan, one: RejectedRecord, privacy: Privacy | None, samples: int) -> None:
    plan.counts["refuse"] += 1
    if len(plan.refused) < samples:
        error = one.error if privacy is None else privacy.error(one.error, one.id, one.raw)
        plan.refused.append((one.id.decode(errors="replace"), str(error)))


def _show(plan: StepPlan, step: ProcessStep) -> None:
    console = Console(highlight=False, soft_wrap=True, markup=False)
    state = "it has begun" if plan.has_begun else f"it has not begun, and begins with: {step.begin}"
    console.print(f"{plan.step}: {plan.counts.total():,} records of {plan.makes}; {state}")
    for action, words in _WORDS.items():
        if plan.counts[action]:
            console.print(f"  {words}: {plan.counts[action]:,}")
    for id, why in plan.refused:
        console.print(escaped(f"  {id}: {why}"))


def _as_json(plan: StepPlan) -> dict[str, object]:
    return {
        "step": plan.step,
        "makes": plan.makes,
        "has_begun": plan.has_begun,
        "records": plan.counts.total(),
        "counts": {action: plan.counts[action] for action in _WORDS},
        "refused": [{"id": id, "why": why} for id, why in plan.refused],
    }


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()
