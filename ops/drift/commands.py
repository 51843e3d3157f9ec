"""`sorbus drift`: where sources have changed; a person settles the finding, or fixes the map."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.cli.login import login_name
from sorbus.control_characters import escaped

if TYPE_CHECKING:
    from sorbus.drift.store import DriftFinding

app = typer.Typer(name="drift", help="Source fields that no longer match the map.")

Json = Annotated[bool, typer.Option("--json", help="As JSON, one object a line.")]


@app.command("list")
def list_findings(
    ctx: typer.Context,
    system: Annotated[str | None, typer.Option("--system", help="Only this system's.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Include settled ones.")] = False,
    as_json: Json = False,
) -> None:
    """List what has changed in the sources, those that hold records first.

    Examples: sorbus drift list; sorbus drift list --system crm --json | jq .words
    """
    from sorbus.drift.store import DriftStore
    from sorbus.errors import UsageError
    from sorbus.state.database import State

    loaded = Context.of(ctx).load()
    if system is not None and system not in loaded.map.systems:
        raise UsageError(f"the map has no system {system!r}: {', '.join(loaded.map.systems)}")
    found = DriftStore(State.of(loaded.map.topic_prefix)).findings(system, settled=all_)
    if as_json:
        for one in found:
            typer.echo(json.dumps(_as_json(one), ensure_ascii=False))
        return
    if not found:
        typer.echo("No source has changed.")
        return
    for one in found:
        typer.echo(_in_words(one))
    if any(one.what == "deleted" and one.state == "open" for one in found):
        typer.echo("If the records are really deleted, confirm it: sorbus drift settle ID.")
    if any(one.severity == "held" and one.what != "deleted" and one.state == "open" for one in found):
        typer.echo("Held records: sorbus dlq list --reason drift. Fix the mapping sheet and restart the producer.")
    typer.echo("If the source is correct: sorbus drift settle ID --reason ...")


@app.command()
def settle(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(metavar="ID", help="The finding's number in `sorbus drift list`.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the finding.")],
    who: Annotated[str, typer.Option("--by", envvar="SORBUS_USER", help="Who settles it; else who is logged in.")] = "",
) -> None:
    """Settle a finding: the source is correct. Records are still held while a field that the map reads is missing.

    For records that look deleted it confirms the deletion: they are deleted in every target if the source's next
    list still lacks them.

    Example: sorbus drift settle 12 --reason "the field is for the shop only"
    """
    from sorbus.drift.store import DriftStore
    from sorbus.state.database import State

    loaded = Context.of(ctx).load()
    DriftStore(State.of(loaded.map.topic_prefix)).settle(number, who or login_name(), reason)
    typer.echo(f"{number} is settled")


def _in_words(one: DriftFinding) -> str:
    """Two lines: number, what happened, whether records wait; where, since when, the first example."""
    if one.state == "settled":
        state = escaped(f"settled by {one.settled_by}: {one.reason}")
    else:
        state = "holds records back" if one.severity == "held" else "nothing held"
    state = typer.style(state, fg="red", bold=True) if "holds" in state else state
    since = one.first_seen.astimezone().strftime("%Y-%m-%d %H:%M %Z")
    example = escaped(f", such as {one.example}") if one.example else ""
    where = escaped(f"{one.system}: {one.data_type}, {one.resource}")
    return f"{one.number:>4}  {escaped(one.words)}: {state}\n      {where}, since {since}{example}"


def _as_json(one: DriftFinding) -> dict[str, object]:
    return {
        "number": one.number,
        "system": one.system,
        "data_type": one.data_type,
        "resource": one.resource,
        "field": one.field,
        "what": one.what,
        "words": one.words,
        "was": one.was,
        "now": one.now,
        "severity": one.severity,
        "looks_renamed": one.renamed,
        "example": one.example,
        "count": one.count,
        "first_seen": one.first_seen.isoformat(),
        "last_seen": one.last_seen.isoformat(),
        "state": one.state,
        "settled_at": one.settled_at.isoformat() if one.settled_at else None,
        "settled_by": one.settled_by,
        "reason": one.reason,
    }
