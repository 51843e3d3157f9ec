"""`sorbus map suggest`: proposes mapping rows from both systems' fields."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import JsonValue

    from sorbus.map.authoring.suggest import Suggestion


def suggest_command(
    ctx: typer.Context,
    system: Annotated[str, typer.Argument(help="The system that owns the data.", show_default=False)],
    target: Annotated[str, typer.Argument(help="The system that receives it.", show_default=False)],
    data_type: Annotated[str, typer.Option("--data-type", help="Only this data type.")] = "",
    samples: Annotated[
        bool, typer.Option("--samples", help="Read up to 50 records of the owner, to see how values are written.")
    ] = False,
    show_personal: Annotated[
        bool, typer.Option("--show-personal", help="Show values of fields tagged `personal` too.")
    ] = False,
    accept: Annotated[str, typer.Option("--accept", metavar="N,M", help="Accept these rows without asking.")] = "",
    all_above: Annotated[
        float | None, typer.Option("--all-above", min=0, max=1, help="Accept all rows with at least this confidence.")
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="FILE", help="Default: mappings/SYSTEM-to-TARGET.csv.", dir_okay=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Rows as JSON; asks nothing.")] = False,
) -> None:
    """Propose the mapping rows that are missing between two systems, each with its confidence and reason.

    Fields come from catalog/ or the connector's description, else from discovery. On a terminal you are asked which
    rows to accept; elsewhere name them. A row that `map check` would reject is written with TO DO in its Notes.

    Examples: `sorbus map suggest crm accounting --samples`, `sorbus map suggest crm accounting --all-above 0.8`,
    `sorbus map suggest crm accounting --data-type customer --accept 1,3-5`
    """
    from sorbus.map.authoring.suggest import marked, suggest
    from sorbus.map.sheets.rewrite import append_rows

    context = Context.of(ctx)
    loaded = context.load()
    found = suggest(loaded, system, target, data_type=data_type, samples=samples, show_personal=show_personal)
    chosen = _numbers(accept, len(found)) if accept else set[int]()
    if all_above is not None:
        chosen |= {number for number, each in enumerate(found, 1) if each.confidence >= all_above}
    if as_json:
        typer.echo(json.dumps({"suggestions": _as_json(found)}, indent=2, ensure_ascii=False))
    elif not found:
        typer.echo("nothing to suggest: every field with a counterpart is mapped already")
    else:
        _show(found)
        if not accept and all_above is None and sys.stdin.isatty() and sys.stdout.isatty():
            chosen = _numbers(typer.prompt("Which rows to accept (1,3-5, all, none)", default="none"), len(found))
    if not chosen:
        return
    file = into or loaded.folder / "mappings" / f"{system}-to-{target}.csv"
    if file.suffix.lower() != ".csv":
        raise typer.BadParameter("rows are written as CSV: name a .csv", param_hint="--into")
    rows = marked(loaded, [found[number - 1].row for number in sorted(chosen)])
    append_rows(file, rows)
    typer.echo(f"written: {len(rows)} rows into {file}; see `sorbus map check`", err=True)


def _numbers(text: str, most: int) -> set[int]:
    """Parses `1,3-5`, `all` or `none` as row numbers."""
    if text.strip() in ("all", "none"):
        return set(range(1, most + 1)) if text.strip() == "all" else set()
    found: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, _, last = part.partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            raise typer.BadParameter(f"{part!r} is not a row number; write 1,3-5", param_hint="--accept")
        if not 1 <= int(first) <= int(last or first) <= most:
            raise typer.BadParameter(f"there is no row {part}: there are {most}", param_hint="--accept")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def _show(found: Sequence[Suggestion]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from sorbus.cli.discovered import PLAIN_WIDTH

    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("", justify="right", style="bold")
    for head in ("From", "To", "Rule"):
        table.add_column(head, overflow="fold")
    table.add_column("Sure", justify="right")
    table.add_column("Why", overflow="fold")
    for number, each in enumerate(found, 1):
        row = each.row
        why = "; ".join(filter(None, (each.why, each.example and f"such as {each.example}")))
        doubt = f"\n[yellow]{escape(each.doubt)}[/]" if each.doubt else ""
        table.add_row(
            str(number),
            escape(f"{row.source_system} {row.source_field}"),
            escape(f"{row.target_system} {row.target_field}"),
            escape(row.rule),
            f"{each.confidence:.0%}",
            escape(why) + doubt,
        )
    console.print(table)


def _as_json(found: Sequence[Suggestion]) -> list[JsonValue]:
    return [
        {
            "number": number,
            "row": [
                each.row.source_system, each.row.source_field, each.row.target_system, each.row.target_field,
                each.row.rule, each.row.notes,
            ],
            "confidence": each.confidence,
            "why": each.why,
            "doubt": each.doubt,
            "example": each.example,
        }
        for number, each in enumerate(found, 1)
    ]  # fmt: skip
