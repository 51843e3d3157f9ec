"""`sorbus map advise`: what changes, failures and use say about each flow's timing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context

if TYPE_CHECKING:
    from sorbus.advice.evidence import FlowEvidence
    from sorbus.advice.judge import Advice

NOT_MEASURED = (
    "Not measured: how often people look at a target, except the last read of PostgreSQL 16 and newer after Sorbus's"
    " last delivery; how urgent a change is to its reader. Times are UTC."
)


def advise_command(
    ctx: typer.Context,
    flows: Annotated[list[str] | None, typer.Argument(metavar="[FLOW]...", help="Only these.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Also flows that are right as they are.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, of every flow.")] = False,
) -> None:
    """Say which flows needn't be real-time, are cheaper by hand or not needed, and which should be real-time.

    From what was measured in the last 100 days: when changes came, dead letters, conflicts, requests to deliver at
    once, and whether anyone reads the rows of PostgreSQL targets. The map is never changed: each line says what to
    write into it.

    Examples: sorbus map advise; sorbus map advise order-to-reporting --json
    """
    from sorbus.advice.gather import gather
    from sorbus.advice.judge import Verdict, judge
    from sorbus.errors import UsageError
    from sorbus.spelling import closest
    from sorbus.state.database import State

    loaded = Context.of(ctx).load_sound()
    known = [one.id for one in loaded.as_written.map.flows if one.runs]
    for name in flows or ():
        if name not in known:
            raise UsageError(f"the map has no flow {name!r} that runs; {closest(name, known)}")
    found = gather(loaded, State.of(loaded.map.topic_prefix), flows or ())
    advice = [judge(one) for one in found]
    if as_json:
        for evidence, one in zip(found, advice, strict=True):
            typer.echo(json.dumps(_as_data(evidence, one)))
        return
    shown = [one for one in advice if every or flows or one.verdict is not Verdict.KEEP]
    for one in shown:
        typer.echo(f"{one.flow}: {one.verdict.value}: {one.why}")
        if one.write:
            delay = f"  (a change waits at most {_span(one.worst_delay)})" if one.worst_delay is not None else ""
            typer.echo(f"    {one.write}{delay}")
    if not shown:
        typer.echo(f"{len(advice)} flows are right as they are; --all shows their figures.")
    typer.echo(NOT_MEASURED, err=True)


def _as_data(evidence: FlowEvidence, one: Advice) -> dict[str, object]:
    return {
        "flow": one.flow,
        "verdict": one.verdict.name.lower(),
        "why": one.why,
        "write": one.write,
        "worst_delay_seconds": one.worst_delay,
        "timing": evidence.timing,
        "since": evidence.since,
        "days": round(evidence.days, 3),
        "captured_days": round(evidence.captured_days, 3),
        "changes": evidence.total,
        "landed": evidence.landed,
        "busy_hours": evidence.busy_hours,
        "dead_letters": evidence.letters,
        "conflicts": evidence.conflicts,
        "crashes": evidence.crashes,
        "syncs": evidence.syncs,
        "unread_days": evidence.unread_days,
    }


def _span(seconds: float) -> str:
    for size, unit in ((86400.0, "day"), (3600.0, "hour")):
        if seconds >= size:
            count = seconds / size
            return f"{count:.0f} {unit}{'s' * (count != 1)}"
    return f"{seconds:.0f} s"
