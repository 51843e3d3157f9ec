"""`sorbus doctor`: one look at everything that must be well, before a start or when something isn't."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from sorbus.diagnosis import Diagnosis

app = typer.Typer()

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red")}


@app.command()
def doctor(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One object for each finding, a line each.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Show what is OK too.")] = False,
    folder: Annotated[Path, typer.Option(help="Where `sorbus up` writes its files.")] = Path(".sorbus/run"),
) -> None:
    """Check this machine, the map, Kafka, registry, database and every system, and name the fix of each problem.

    Connects to everything with the map's own logins, reads a little from each, and changes nothing. Exit code
    1 when there are problems; warnings alone are 0. `sorbus status` says how running flows are.

    Examples: `sorbus doctor`, `sorbus doctor --all`, `sorbus doctor --json | jq 'select(.level == "problem")'`
    """
    import json
    from collections import Counter
    from dataclasses import asdict
    from itertools import chain

    from rich.console import Console

    from sorbus.diagnosis import Diagnosis, of_finding
    from sorbus.errors import MapError
    from sorbus.ops.doctor.checks import checks_of
    from sorbus.ops.doctor.examination import examine
    from sorbus.settings import Settings
    from sorbus.telemetry.logs import configure_logs

    configure_logs("doctor", level="CRITICAL")  # what libraries log while a server is away is found and said here
    settings, loaded, unreadable = Settings(), None, list[Diagnosis]()
    try:
        loaded = Context.of(ctx).load()
    except MapError as error:
        unreadable = [of_finding("map", finding) for finding in error.findings]
    console, heading, counts = Console(highlight=False), "", Counter[str]()
    for batch in chain([unreadable], examine(list(checks_of(loaded, settings, folder)))):
        counts.update(one.level for one in batch)
        for one in batch:
            if as_json:
                typer.echo(json.dumps(asdict(one), ensure_ascii=False))
            elif every or one.level != "ok":
                heading = _show(console, one, heading)
    if not as_json:
        problems, warnings = (_count(counts[level], level) for level in ("problem", "warning"))
        typer.echo(f"{counts.total()} checks: {problems}, {warnings}")
    if counts["problem"]:
        raise typer.Exit(ExitCode.FINDINGS)


def _show(console: Console, one: Diagnosis, heading: str) -> str:
    """Prints a finding, under its heading where that is another one than the last; the heading."""
    from rich.text import Text

    if one.where != heading:
        console.print(Text(one.where, style="bold"))
    mark, style = _MARKS[one.level]
    console.print(Text.assemble("  ", (mark, style), f" {one.what}: {one.found}"), soft_wrap=True)
    if one.fix:
        console.print(Text(f"      fix: {one.fix}", style="dim"), soft_wrap=True)
    return one.where


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
