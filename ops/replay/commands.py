"""`sorbus replay`: rebuild or refresh a flow's target from its topic."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.cli.login import login_name

if TYPE_CHECKING:
    from sorbus.ops.replay.selection import Selection
    from sorbus.ops.replay.topic_delivery import Progress

app = typer.Typer()
_INTERRUPTED = 130


@app.command()
def replay(
    ctx: typer.Context,
    flow: Annotated[str, typer.Argument(help="The flow whose target is brought up to date.")],
    since: Annotated[
        str,
        typer.Option(
            "--from", help="beginning, a time such as 2026-11-01T08:00 (local unless it says), or PARTITION:OFFSET,..."
        ),
    ] = "beginning",
    until: Annotated[
        str, typer.Option("--to", help="Leave out records that changed after this time: 2026-11-01T12:00.")
    ] = "",
    id: Annotated[list[str] | None, typer.Option("--id", help="Only this record; may be repeated.")] = None,
    ids_file: Annotated[
        Path | None,
        typer.Option("--ids", metavar="FILE", exists=True, help="Only the records in this file, an id a line."),
    ] = None,
    cause: Annotated[str, typer.Option("--cause", help="Only records with dead letters of this cause.")] = "",
    where: Annotated[
        str, typer.Option("--where", help='Only records whose last state fits this condition: country == "DE".')
    ] = "",
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Tables: fill a shadow table, compare, apply the differences at once.")
    ] = False,
    remove_extra: Annotated[
        bool, typer.Option("--remove-extra", help="With --shadow: delete rows that the topic knows nothing of.")
    ] = False,
    without_deleted: Annotated[
        bool, typer.Option("--without-deleted", help="Soft deletes: continue where deleted records can't be restored.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the flow's unfinished replay.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Give up the flow's unfinished replay.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would do; write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The counts as JSON.")] = False,
    who: Annotated[str, typer.Option("--by", envvar="SORBUS_USER", help="Who replays; else who is logged in.")] = "",
) -> None:
    """Deliver a topic's events to one flow's target once more; safe while its consumer runs.

    Ctrl-C stops it; the same command resumes it. With Sorbus's database it also resumes after a crash, and one replay
    of a flow runs at a time. Exit code 1: records were refused or left out; 4: another replay is unfinished.

    Examples: sorbus replay customer-to-reporting; sorbus replay order-to-reporting --from 2026-11-01T08:00
    --to 2026-11-01T12:00; sorbus replay customer-to-crm --where 'country == "DE"' --dry-run;
    sorbus replay customer-to-reporting --shadow
    """
    from sorbus.ops.replay.run import ReplayRun
    from sorbus.telemetry.logs import configure_logs

    configure_logs(f"replay {flow}", level="WARNING")
    loaded = Context.of(ctx).load_sound()
    run = ReplayRun(loaded, flow, who or login_name())
    if cancel:
        typer.echo(run.cancel())
        return
    if resume:
        selection, shadow, remove_extra = run.unfinished()
    else:
        selection = _selection(since, until, run.ids(id or (), ids_file, cause), where, cause)
    with _progress() as progress:
        try:
            if dry_run:
                outcome = run.dry_run(selection, progress, shadow=shadow, remove_extra=remove_extra)
            elif shadow:
                outcome = run.shadow(selection, progress, remove_extra=remove_extra)
            else:
                outcome = run.in_place(selection, progress, without_deleted=without_deleted)
        except KeyboardInterrupt:
            typer.echo(f"{flow}: stopped; `sorbus replay {flow} --resume` resumes, --cancel gives it up", err=True)
            raise typer.Exit(_INTERRUPTED) from None
    typer.echo(json.dumps(outcome.to_json(), ensure_ascii=False) if as_json else outcome.words)
    raise typer.Exit(1 if outcome.has_findings else 0)


def _selection(since: str, until: str, ids: frozenset[bytes] | None, where: str, cause: str) -> Selection:
    from sorbus.ops.replay.selection import Selection

    try:
        last = datetime.fromisoformat(until).astimezone() if until else None
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"{until!r} is no time; write 2026-11-01T12:00") from error
    if since == "beginning":
        return Selection(until=last, ids=ids, where=where, cause=cause)
    try:
        if "T" not in since and "-" not in since and ":" in since:
            parts = [part.split(":") for part in since.split(",")]
            offsets = {int(partition): int(offset) for partition, offset in parts}
            return Selection(until=last, offsets=offsets, ids=ids, where=where, cause=cause)
        begin = datetime.fromisoformat(since).astimezone()
        return Selection(since=begin, until=last, ids=ids, where=where, cause=cause)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(
            f"{since!r} is no time and no offset; write beginning, 2026-11-01T08:00 or 0:4711 (partition:offset)"
        ) from error


@contextmanager
def _progress() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Task as Bar
    from rich.text import Text

    class Rate(ProgressColumn):
        """Events a second."""

        def render(self, task: Bar) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f}/s")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bars:
        bar = bars.add_task("connecting", total=None)
        yield lambda doing, done, total: bars.update(bar, description=doing, completed=done, total=max(done, total))
