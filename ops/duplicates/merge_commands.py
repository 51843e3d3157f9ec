"""`sorbus duplicates merge`, and what follows: records that a system has more than once."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.control_characters import escaped
from sorbus.ops.duplicates.options import Json, Number, Reason, Who, Yes

if TYPE_CHECKING:
    from sorbus.identity.merged import Merged, Way

app = typer.Typer()


class Retire(StrEnum):
    """How records that are the same as the one that stays go."""

    MERGE = "merge"
    DELETE = "delete"
    PERSON = "person"


@app.command()
def merge(
    ctx: typer.Context,
    number: Number,
    survivor: Annotated[str, typer.Argument(help="The matching record, which is kept.")],
    others: Annotated[list[str], typer.Option("--with", help="A duplicate to merge into it; may be repeated.")],
    retire: Annotated[
        Retire | None,
        typer.Option(help="How to remove the others; default: the system's own merge, else a task for a person."),
    ] = None,
    reason: Reason = "",
    who: Who = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Merge duplicates of a system: one is kept and linked, the others are removed and never asked about again.

    Records are deleted only with --retire delete. What can't be merged now stays due: sorbus duplicates merges.

    Examples: sorbus duplicates merge 12 0d3f-88 --with 0d3f-91; sorbus duplicates merge 12 7 --with 9 --retire delete
    """
    from sorbus.cli.login import login_name
    from sorbus.ops.duplicates.merge import RecordMerger
    from sorbus.ops.duplicates.resolver import DuplicateResolver
    from sorbus.settings import Settings
    from sorbus.state.database import State

    loaded = Context.of(ctx).load()
    state = State.of(loaded.map.topic_prefix)
    candidate = DuplicateResolver(loaded.map, Settings(), state).candidate(number)
    merger = RecordMerger(loaded, Settings(), state)
    way: Way = retire.value if retire else "merge" if "merge" in merger.ways(candidate) else "person"
    will = {
        "merge": f"be merged into {survivor} by {candidate.system}",
        "delete": f"be deleted in {candidate.system}",
        "person": f"stay in {candidate.system} until a person merges them into {survivor}",
    }[way]
    if not yes:
        record = f"{candidate.data_type} {candidate.id}"
        typer.confirm(
            escaped(f"{record} will be linked to {survivor}; {', '.join(others)} will {will}. Continue?"),
            abort=True,
            err=True,
        )
    done = merger.merge(candidate, survivor, others, way, who=who or login_name(), reason=reason)
    _print_merged(done.merged, as_json=as_json)
    if not as_json and done.letters:
        typer.echo("Its dead letter was requeued and is delivered now.")
    _exit_if_due(done.merged)


@app.command()
def merges(
    ctx: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Include finished merges.")] = False,
    as_json: Json = False,
) -> None:
    """List the merges still to do: tasks for people, and those that failed.

    Examples: sorbus duplicates merges; sorbus duplicates merges --all --json
    """
    from sorbus.identity.merged import MergedRecords
    from sorbus.state.database import State

    merged = MergedRecords(State.of(Context.of(ctx).load().map.topic_prefix))
    found = merged.all() if everything else merged.due()
    _print_merged(found, as_json=as_json)
    if not found and not as_json:
        typer.echo("Nothing left to merge.")


@app.command()
def retry(ctx: typer.Context, number: Number, as_json: Json = False) -> None:
    """Retry merges that could not be done, for example while the system was down.

    Example: sorbus duplicates retry 12
    """
    from sorbus.identity.merged import MergedRecords
    from sorbus.ops.duplicates.merge import RecordMerger
    from sorbus.settings import Settings
    from sorbus.state.database import State

    loaded = Context.of(ctx).load()
    state = State.of(loaded.map.topic_prefix)
    found = RecordMerger(loaded, Settings(), state).carry_out(MergedRecords(state).of_candidate(number))
    _print_merged(found, as_json=as_json)
    _exit_if_due(found)


@app.command()
def done(
    ctx: typer.Context,
    number: Number,
    external_id: Annotated[str, typer.Argument(help="The duplicate that was merged by hand.")],
    who: Who = "",
) -> None:
    """Mark a duplicate as merged by hand, or as gone.

    Example: sorbus duplicates done 12 0d3f-91
    """
    from sorbus.cli.login import login_name
    from sorbus.errors import SorbusError
    from sorbus.identity.merged import MergedRecords
    from sorbus.state.database import State

    merged = MergedRecords(State.of(Context.of(ctx).load().map.topic_prefix))
    for one in merged.of_candidate(number):
        if one.external_id == external_id:
            merged.done(one, who or login_name())
            typer.echo(escaped(f"{external_id} in {one.system} is merged into {one.survivor}."))
            return
    raise SorbusError(f"{external_id} is not due to be merged by decision {number}; see `sorbus duplicates merges`")


def _print_merged(found: list[Merged], *, as_json: bool) -> None:
    for one in found:
        if as_json:
            times = {"at": one.at.isoformat(), "done_at": one.done_at.isoformat() if one.done_at else None}
            typer.echo(json.dumps({**asdict(one), **times, "task": one.task}, ensure_ascii=False))
        else:
            typer.echo(
                escaped(
                    f"{one.candidate}: {one.task or f'{one.external_id} is merged into {one.survivor} in {one.system}'}"
                )
            )


def _exit_if_due(found: list[Merged]) -> None:
    from sorbus.errors import ExitCode

    if any(one.problem for one in found if one.state == "due"):
        raise typer.Exit(ExitCode.FINDINGS)
