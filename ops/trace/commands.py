"""`sorbus trace`: everything that is known of one record, in order of time, and what each target has of it now."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.cli.show_personal import ShowPersonal
from sorbus.control_characters import escaped_markup as escape
from sorbus.errors import ExitCode

if TYPE_CHECKING:
    from sorbus.ops.trace.trace import Trace

app = typer.Typer()


@app.command()
def trace(
    ctx: typer.Context,
    data_type: Annotated[str, typer.Argument(metavar="TYPE", help="The data type, such as customer.")],
    id: Annotated[str, typer.Argument(help="The record's id at its owner: the event's key.")],
    targets: Annotated[
        bool, typer.Option("--targets/--no-targets", help="Ask the owner and each target what it has now.")
    ] = True,
    show_personal: ShowPersonal = False,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show what happened to a record; at the end, what each system shows, since when, why it differs, who can fix it.

    The owner and the targets are asked without writing anything; the topic may have forgotten older events
    (compaction). Large topics are indexed as they are searched, in Sorbus's database: the first search may take a
    while. Personal values are masked. Exit code 1 when nothing is known of it, or something of it needs a person.

    Examples: sorbus trace customer 4711; sorbus trace customer 4711 --no-targets --json | jq '.moments[].what'
    """
    from sorbus.cli.show_personal import note_in_trail, note_shown
    from sorbus.drift.watch import has_state
    from sorbus.ops.trace.progress import searching
    from sorbus.ops.trace.trace import trace_record
    from sorbus.settings import Settings
    from sorbus.state.database import State

    loaded = Context.of(ctx).load()
    settings = Settings()
    state = State.of(loaded.map.topic_prefix) if has_state(settings) else None
    if show_personal:
        note_shown("trace", record=f"{data_type} {id}")
        if state is not None:
            note_in_trail(state, "record", f"{data_type} {id}", data_type, id)
    with searching(f"Searching the topic of {data_type}") as progress:
        found = trace_record(
            loaded,
            settings,
            state,
            data_type,
            id,
            asks_targets=targets,
            show_personal=show_personal,
            progress=progress,
        )
    if as_json:
        typer.echo(json.dumps(as_object(found), ensure_ascii=False))
    else:
        _print(found)
    raise typer.Exit(ExitCode.FINDINGS if found.needs_someone or not found.is_known else ExitCode.FINE)


def _print(found: Trace) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    state = "deleted, or never published" if found.record is None else f"version {found.version}"
    state = "what was published of it isn't known" if found.is_unread else state
    console.print(f"[bold]{escape(found.data_type)} {escape(found.id)}[/] of {escape(found.owner)}: {state}")
    for name, value in (found.record or {}).items():
        if value not in (None, "", [], {}):
            console.print(f"  {escape(name)}: {escape(_text(value))}")
    if not found.is_known and not found.is_unread:
        console.print("Nothing is known of it: see the id at its owner.")
    for one in found.moments:
        when, still = f"{one.at.astimezone():%Y-%m-%d %H:%M:%S}", " [bold](open)[/]" if one.is_open else ""
        console.print(f"{when}  [cyan]{one.kind:9}[/]  {escape(one.where)}: {escape(one.what)}{still}")
        for name, value in one.changes.items():
            was, now = value if isinstance(value, list) else (None, value)
            console.print(f"{'':32}{escape(name)}: {escape(_text(was))} -> {escape(_text(now))}")
    for each in found.targets:
        why = each.problem or (each.preview.why if each.preview else "")
        console.print(f"now, {escape(each.system)} ({escape(each.flow)}): [bold]{each.said}[/]: {escape(why)}")
    for problem in found.problems:
        console.print(f"[yellow]not asked[/]: {escape(problem)}")
    for sentence in found.summary:
        console.print(f"[bold]{escape(sentence)}[/]")


def as_object(found: Trace) -> dict[str, object]:
    """A trace for JSON: times as text."""
    return {
        "data_type": found.data_type,
        "id": found.id,
        "owner": found.owner,
        "version": found.version,
        "record": found.record,
        "moments": [{**one._asdict(), "at": one.at.isoformat(), "changes": dict(one.changes)} for one in found.moments],
        "targets": [
            {**one._asdict(), "preview": one.preview._asdict() if one.preview else None} for one in found.targets
        ],
        "problems": list(found.problems),
        "owner_now": found.owner_now._asdict() if found.owner_now else None,
        "summary": list(found.summary),
    }


def _text(value: object) -> str:
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
