"""`sorbus map import`: turns a documentation spreadsheet into a mapping sheet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import JsonValue

    from sorbus.map.sheets.import_sheet import Brought


def import_command(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV or XLSX.", exists=True, dir_okay=False)],
    system: Annotated[str, typer.Option("--system", help="The source system, if the file names none.")] = "",
    target: Annotated[str, typer.Option("--target", help="The target system, if the file names none.")] = "",
    sheet: Annotated[str, typer.Option("--sheet", metavar="NAME", help="Only this tab of a workbook.")] = "",
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="FILE", help="Default: mappings/ beside the map, FILE's name.", dir_okay=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written, write nothing.")] = False,
    only_sound: Annotated[
        bool, typer.Option("--only-sound", help="Omit rows that `map check` would reject; by default they are marked.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Rows as JSON.")] = False,
) -> None:
    """Import a documentation spreadsheet: what was understood of each row, what was assumed, what was not.

    Headings may have many names and need not be on the first row. Notes such as "uppercase" or "UK date dd/mm/yyyy"
    become rules; what isn't fully understood stays in Notes unchanged. A row that `map check` would reject is written
    with TO DO in its Notes. Exit code 1 if something needs a person.

    Examples: `sorbus map import crm-to-ledger.xlsx --dry-run`,
    `sorbus map import fields.csv --system crm --target accounting --into mappings/crm-accounting.csv`
    """
    from sorbus.map.sheets.import_sheet import bring_in, rows_of

    context = Context.of(ctx)
    loaded = context.load()
    for option, name in (("--system", system), ("--target", target)):
        if name and name not in (*loaded.map.systems, "canonical"):
            raise typer.BadParameter(f"no system is called {name}", param_hint=option)
    found = bring_in(loaded, file, source=system, target=target, tab=sheet)
    rows = list(rows_of(found, sound=only_sound))
    sheet_file = into or loaded.folder / "mappings" / f"{file.stem}.csv"
    if sheet_file.suffix.lower() != ".csv":
        raise typer.BadParameter("rows are written as CSV: name a .csv", param_hint="--into")
    if as_json:
        shown = {"rows": [_as_json(each) for each in found], "into": None if dry_run else str(sheet_file)}
        typer.echo(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        _show(found)
    if rows and not dry_run:
        from sorbus.map.sheets.rewrite import append_rows

        append_rows(sheet_file, rows)
        typer.echo(f"written: {len(rows)} rows into {sheet_file}", err=True)
    if any(each.row is None or each.findings or each.unclear for each in found):
        raise typer.Exit(ExitCode.FINDINGS)


def _show(found: Sequence[Brought]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from sorbus.cli.discovered import PLAIN_WIDTH

    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("Line", justify="right")
    for head in ("Source", "Target", "Rule"):
        table.add_column(head, overflow="fold")
    table.add_column("Sure", justify="right")
    table.add_column("Understood, assumed, not understood", overflow="fold")
    for each in found:
        row = each.row
        cells = ("", "", "")
        if row is not None:
            source, target = (f"{row.source_system} {row.source_field}", f"{row.target_system} {row.target_field}")
            cells = (source, target, row.rule)
        says = [f'"{escape(each.understood)}"'] if each.understood else []
        says += [escape(f"assumed: {what}") for what in each.assumed]
        says += [f"[yellow]{escape(f'{each.file}:{each.line}: {what}')}[/]" for what in each.unclear]
        says += [f"[red]{escape(f'{each.file}:{each.line}: {it.message}; {it.fix}')}[/]" for it in each.findings]
        sure = f"{each.confidence:.0%}" if row is not None else "-"
        table.add_row(str(each.line), *map(escape, cells), sure, "\n".join(says))
    console.print(table)
    whole = sum(each.row is not None and not each.findings and not each.unclear for each in found)
    console.print(f"{len(found)} rows: {whole} understood, {len(found) - whole} for a person", highlight=False)


def _as_json(each: Brought) -> dict[str, JsonValue]:
    row = each.marked
    return {
        "file": str(each.file),
        "line": each.line,
        "row": None
        if row is None
        else [row.source_system, row.source_field, row.target_system, row.target_field, row.rule, row.notes],
        "confidence": round(each.confidence, 2),
        "understood": each.understood,
        "assumed": list(each.assumed),
        "not_understood": list(each.unclear),
        "findings": [f"{finding.message}; {finding.fix}" for finding in each.findings],
    }
