"""`sorbus map routes`: the rows from system to system, and the canonical fields that they go through."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.errors import ExitCode

if TYPE_CHECKING:
    from pydantic import JsonValue

    from sorbus.map.loaded import Route

_SHOWN = 20


def routes_command(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Routes as JSON.")] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Replace the rows in their sheets with the canonical rows they stand for.")
    ] = False,
) -> None:
    """List the system-to-system rows, each with the canonical field it is routed through, and why.

    Rows that can't be routed are findings of `sorbus map check`, and also listed here.

    Examples: `sorbus map routes`, `sorbus map routes --json`, `sorbus map routes --write`
    """
    loaded = Context.of(ctx).load()
    if as_json:
        found = {
            "routes": [_as_json(route) for route in loaded.routes],
            "unrouted": [str(finding) for finding in loaded.unrouted],
        }
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        for route in loaded.routes:
            typer.echo(str(route))
        for finding in loaded.unrouted:
            typer.echo(str(finding))
    if write:
        from sorbus.map.sheets.rewrite import write_routes

        for file in write_routes(loaded.routes):
            typer.echo(f"written: {file}", err=True)
    if loaded.unrouted:
        raise typer.Exit(ExitCode.FINDINGS)


def show_notes(routes: Sequence[Route]) -> None:
    """Prints what was assumed about direct rows on stderr: the first ones, and where to see the rest."""
    for route in routes[:_SHOWN]:
        typer.echo(str(route), err=True)
    if (more := len(routes) - _SHOWN) > 0:
        typer.echo(f"and {more} more rows from system to system: sorbus map routes", err=True)


def _as_json(route: Route) -> dict[str, JsonValue]:
    row = route.row
    return {
        "file": str(row.file),
        "line": row.line,
        "source": f"{row.source_system}.{row.source_field}",
        "target": f"{row.target_system}.{row.target_field}",
        "through": route.canonical,
        "why": route.why,
        "rows": [
            [made.source_system, made.source_field, made.target_system, made.target_field, made.rule, made.notes]
            for made in route.made
        ],
    }
