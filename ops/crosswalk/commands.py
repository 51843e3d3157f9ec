"""`sorbus crosswalk`: which record is which in another system; bring in what people know, mend what is wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.errors import ExitCode

if TYPE_CHECKING:
    from sorbus.map.load import LoadedMap
    from sorbus.state.database import State

app = typer.Typer(name="crosswalk", help="Which record is which in another system: look, link, import, export.")

SystemArgument = Annotated[str, typer.Argument(help="The system, by its name in the map.")]
TypeArgument = Annotated[str, typer.Argument(help="The data type.")]
IdArgument = Annotated[str, typer.Argument(help="The record's id at its owner.")]
SystemOption = Annotated[str | None, typer.Option("--system", help="Only this system's.")]
TypeOption = Annotated[str | None, typer.Option("--data-type", help="Only this data type's.")]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON, one object a line.")]


@app.command()
def show(
    ctx: typer.Context, system: SystemArgument, data_type: TypeArgument, id: IdArgument, as_json: JsonOption = False
) -> None:
    """Show what is known of a record in a system: its id there, the version delivered, what was last sent.

    Exits with 1 if nothing is known.

    Example: sorbus crosswalk show accounting customer 4711
    """
    from sorbus.identity.crosswalk import Crosswalk

    _, state = _open(ctx, system, data_type)
    link = Crosswalk(state, system, data_type).find([id]).get(id)
    if link is None:
        typer.echo(f"nothing is known of {data_type} {id} in {system}: its next event is matched there", err=True)
        raise typer.Exit(ExitCode.FINDINGS)
    if as_json:
        typer.echo(json.dumps(link._asdict(), default=str, ensure_ascii=False))
        return
    said = {
        "linked": f"is {link.external_id} there; version {link.version} has been delivered",
        "intended": f"is being made there since {link.intended_at}, version {link.version}",
        "gone": f"is gone there (it was {link.external_id or 'never made'}), as of version {link.version}",
    }
    typer.echo(f"{system}: {data_type} {id} {said[link.state]}")
    if link.sent is not None:
        typer.echo(f"last sent:\n{json.dumps(link.sent, default=str, indent=4, ensure_ascii=False)}")


@app.command()
def find(
    ctx: typer.Context,
    external: Annotated[str, typer.Option("--external", help="The record's id in the system.")],
    system: SystemOption = None,
    data_type: TypeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find which record an external id is. Exits with 1 if none.

    Examples: sorbus crosswalk find --external 4f2a; sorbus crosswalk find --external 77 --system helpdesk
    """
    from sorbus.identity.pairs import linked_pairs

    _, state = _open(ctx, system, data_type)
    found = list(linked_pairs(state, system=system, data_type=data_type, external_id=external))
    for pair in found:
        words = f"{pair.external_id} in {pair.system} is {pair.data_type} {pair.id}"
        typer.echo(json.dumps(pair._asdict(), ensure_ascii=False) if as_json else words)
    if not found:
        typer.echo(f"no record is linked to {external}", err=True)
        raise typer.Exit(ExitCode.FINDINGS)


@app.command("import")
def import_pairs(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV with the columns system, data_type, id, external_id.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check every line; write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The counts and findings as JSON.")] = False,
) -> None:
    """Link the pairs of a CSV file, all or none: a line that can't be linked is named, and nothing is written.

    A linked record's next event is compared with the record there, and written where they differ.

    Examples: sorbus crosswalk import known.csv --dry-run; sorbus crosswalk import known.csv
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from sorbus.identity.pairs import link_all
    from sorbus.ops.crosswalk.sheet import read_sheet

    loaded, state = _open(ctx)
    sheet = read_sheet(file, loaded.map, state)
    if not sheet.findings and not dry_run:
        columns = (TextColumn("linking"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bars:
            bar = bars.add_task("linking", total=len(sheet.pairs))
            link_all(state, sheet.pairs, lambda count: bars.advance(bar, count))
    if as_json:
        found = [{"line": each.line, "message": each.message, "cure": each.cure} for each in sheet.findings]
        counts = {"new": len(sheet.pairs), "known": sheet.known, "written": not sheet.findings and not dry_run}
        typer.echo(json.dumps({**counts, "findings": found}, ensure_ascii=False))
    elif sheet.findings:
        typer.echo("\n".join(map(str, sheet.findings)), err=True)
        typer.echo(f"sorbus: {len(sheet.findings)} lines to mend in {file}; nothing was imported", err=True)
    else:
        typer.echo(f"{len(sheet.pairs)} {'would be linked' if dry_run else 'linked'}, {sheet.known} were already")
    if sheet.findings:
        raise typer.Exit(ExitCode.FINDINGS)


@app.command()
def export(
    ctx: typer.Context,
    system: SystemOption = None,
    data_type: TypeOption = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file; else standard output.")] = None,
) -> None:
    """Write the linked pairs as CSV, as `import` reads them.

    Example: sorbus crosswalk export --system accounting -o pairs.csv
    """
    import csv

    from sorbus.identity.pairs import Pair, linked_pairs

    _, state = _open(ctx, system, data_type)
    pairs = linked_pairs(state, system=system, data_type=data_type)
    if output is None:
        lines = csv.writer(sys.stdout, lineterminator="\n")
        lines.writerow(Pair._fields)
        lines.writerows(pairs)
        return
    with output.open("w", encoding="utf-8", newline="") as stream:
        lines = csv.writer(stream, lineterminator="\n")
        lines.writerow(Pair._fields)
        count = sum(bool(lines.writerow(pair)) for pair in pairs)
    typer.echo(f"{count} pairs written to {output}")


@app.command()
def link(
    ctx: typer.Context,
    system: SystemArgument,
    data_type: TypeArgument,
    id: IdArgument,
    external_id: Annotated[str, typer.Argument(help="The record in the system that it is.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before a link is moved.")] = False,
) -> None:
    """Say which record in a system this one is, also if it was linked to another, as after a merge there.

    Its next event is compared with that record, and written where they differ.

    Example: sorbus crosswalk link accounting customer 4711 0d3f-88
    """
    from sorbus.identity.crosswalk import Crosswalk

    _, state = _open(ctx, system, data_type)
    crosswalk = Crosswalk(state, system, data_type)
    before = crosswalk.external_of([id]).get(id)
    if before is None:
        crosswalk.link(id, external_id, 0, None)
    elif before != external_id:
        if not yes:
            typer.confirm(f"{data_type} {id} is {before} in {system}. Move it?", abort=True, err=True)
        crosswalk.rename(id, external_id)
    typer.echo(f"{data_type} {id} is {external_id} in {system}")


@app.command()
def unlink(
    ctx: typer.Context,
    system: SystemArgument,
    data_type: TypeArgument,
    id: IdArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Forget which record in a system this one is. Its next event is matched there anew.

    Without a match key that finds it, it is then made a second time. `sorbus duplicates list` shows what is in doubt.

    Example: sorbus crosswalk unlink accounting customer 4711
    """
    from sorbus.errors import SorbusError
    from sorbus.identity.crosswalk import Crosswalk

    _, state = _open(ctx, system, data_type)
    crosswalk = Crosswalk(state, system, data_type)
    link = crosswalk.find([id]).get(id)
    if link is None:
        raise SorbusError(f"nothing is known of {data_type} {id} in {system}, so there is nothing to unlink")
    typer.echo(
        f"{data_type} {id} is {link.external_id or 'not yet made'} in {system} ({link.state}). Without the link its"
        " next event is matched anew; if no key finds the record there, it is made a second time.",
        err=True,
    )
    if not yes:
        typer.confirm("Unlink it?", abort=True, err=True)
    crosswalk.unlink(id)
    typer.echo(f"{data_type} {id} is no longer linked in {system}")


def _open(ctx: typer.Context, system: str | None = None, data_type: str | None = None) -> tuple[LoadedMap, State]:
    """The map and its state; SorbusError if the map has no such system or data type."""
    from sorbus.errors import SorbusError
    from sorbus.state.database import State

    loaded = Context.of(ctx).load()
    if system is not None and system not in loaded.map.systems:
        raise SorbusError(f"the map has no system {system!r}: {', '.join(loaded.map.systems)}")
    if data_type is not None and data_type not in loaded.map.data_types:
        raise SorbusError(f"the map has no data type {data_type!r}: {', '.join(loaded.map.data_types)}")
    return loaded, State.of(loaded.map.topic_prefix)
