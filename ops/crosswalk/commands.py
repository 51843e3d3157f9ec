"""`sorbus crosswalk`: which record is which in another system; bring in what people know, fix what is wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.control_characters import escaped
from sorbus.errors import ExitCode

if TYPE_CHECKING:
    from sorbus.map.loaded import LoadedMap
    from sorbus.state.database import State

app = typer.Typer(name="crosswalk", help="Which record is which in another system: look, link, import, export.")

SystemArgument = Annotated[str, typer.Argument(help="The system, by its name in the map.")]
TypeArgument = Annotated[str, typer.Argument(help="The data type.")]
IdArgument = Annotated[str, typer.Argument(help="The record's id at its owner.")]
ResourceOption = Annotated[
    str, typer.Option("--resource", help="The system's resource, where several take the data type.")
]
SystemOption = Annotated[str | None, typer.Option("--system", help="Only this system's.")]
TypeOption = Annotated[str | None, typer.Option("--data-type", help="Only this data type.")]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON, one object a line.")]


@app.command()
def show(
    ctx: typer.Context,
    system: SystemArgument,
    data_type: TypeArgument,
    id: IdArgument,
    resource: ResourceOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show what is known of a record in a system: its id there, the version delivered, what was last sent.

    Exits with 1 if nothing is known.

    Example: sorbus crosswalk show accounting customer 4711
    """
    from sorbus.identity.crosswalk import Crosswalk, place

    loaded, state = _open(ctx, system, data_type)
    resource = _resource(loaded, system, data_type, resource)
    link = Crosswalk(state, system, data_type, resource).find([id]).get(id)
    if link is None:
        where = place(system, resource)
        typer.echo(f"nothing is known of {data_type} {id} in {where}: its next event is matched there", err=True)
        raise typer.Exit(ExitCode.FINDINGS)
    if as_json:
        typer.echo(json.dumps(link._asdict(), default=str, ensure_ascii=False))
        return
    said = {
        "linked": f"is {link.external_id} there; version {link.version} has been delivered",
        "intended": f"is being made there since {link.intended_at}, version {link.version}",
        "gone": f"is gone there (it was {link.external_id or 'never made'}), as of version {link.version}",
    }
    typer.echo(escaped(f"{place(system, resource)}: {data_type} {id} {said[link.state]}"))
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
    from sorbus.identity.crosswalk import place
    from sorbus.identity.pairs import linked_pairs

    _, state = _open(ctx, system, data_type)
    found = list(linked_pairs(state, system=system, data_type=data_type, external_id=external))
    for pair in found:
        words = f"{pair.external_id} in {place(pair.system, pair.resource)} is {pair.data_type} {pair.id}"
        typer.echo(json.dumps(pair._asdict(), ensure_ascii=False) if as_json else escaped(words))
    if not found:
        typer.echo(f"no record is linked to {external}", err=True)
        raise typer.Exit(ExitCode.FINDINGS)


@app.command("import")
def import_pairs(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV: system, data_type, id, external_id (and resource).")],
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
    sheet = read_sheet(file, loaded, state)
    if not sheet.findings and not dry_run:
        columns = (TextColumn("linking"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bars:
            bar = bars.add_task("linking", total=len(sheet.pairs))
            link_all(state, sheet.pairs, lambda count: bars.advance(bar, count))
    if as_json:
        found = [{"line": each.line, "message": each.message, "fix": each.fix} for each in sheet.findings]
        counts = {"new": len(sheet.pairs), "known": sheet.known, "written": not sheet.findings and not dry_run}
        typer.echo(json.dumps({**counts, "findings": found}, ensure_ascii=False))
    elif sheet.findings:
        typer.echo("\n".join(map(str, sheet.findings)), err=True)
        typer.echo(f"sorbus: {len(sheet.findings)} lines to fix in {file}; nothing was imported", err=True)
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
    resource: ResourceOption = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before a link is moved.")] = False,
) -> None:
    """Say which record in a system this one is, also if it was linked to another, as after a merge there.

    Its next event is compared with that record, and written where they differ.

    Example: sorbus crosswalk link accounting customer 4711 0d3f-88
    """
    from sorbus.identity.crosswalk import Crosswalk

    loaded, state = _open(ctx, system, data_type)
    crosswalk = Crosswalk(state, system, data_type, _resource(loaded, system, data_type, resource))
    before = crosswalk.external_of([id]).get(id)
    if before is None:
        crosswalk.link(id, external_id, 0, None)
    elif before != external_id:
        if not yes:
            typer.confirm(f"{data_type} {id} is {before} in {system}. Move it?", abort=True, err=True)
        crosswalk.rename(id, external_id)
    typer.echo(f"{data_type} {id} is {external_id} in {system}")


@app.command()
def assign(
    ctx: typer.Context,
    system: SystemArgument,
    data_type: TypeArgument,
    resource: Annotated[str, typer.Argument(help="The system's resource that they are of.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Say of which resource the links are that two flows shared, before links were of a resource.

    All of them become links of that resource; records of the other one are matched again there. Look first which they
    are (`sorbus crosswalk export`), and unlink those of the other resource afterwards.

    Example: sorbus crosswalk assign marketing customer contacts
    """
    from sorbus.identity.adopt import adopt, unassigned

    loaded, state = _open(ctx, system, data_type)
    resource = _resource(loaded, system, data_type, resource)
    count = unassigned(state, system, data_type)
    if count and not yes:
        typer.confirm(
            f"{count} links and questions of {data_type} become {resource}'s. Continue?", abort=True, err=True
        )
    done = adopt(state, system, data_type, resource)
    typer.echo(f"{done.links} links of {data_type} in {system} are links of {resource} now")


@app.command()
def moved(
    ctx: typer.Context,
    system: SystemArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Say that a system's records have the same ids where the map now says: it has moved to another address.

    Its flows stop until then, since in another account the same ids are other records, which would be overwritten.

    Example: sorbus crosswalk moved accounting
    """
    from sorbus.errors import UsageError
    from sorbus.identity.account import HasAccount, keep_account

    loaded, state = _open(ctx, system)
    connector = loaded.consumer(system)
    if not isinstance(connector, HasAccount):
        raise UsageError(f"{system} has the owner's ids, and no links")
    account = connector.account_of(loaded.system(system, "consumer"))
    if not yes:
        typer.confirm(f"The links of {system} will count at {account}. Continue?", abort=True, err=True)
    links = keep_account(state, system, account)
    typer.echo(f"{links:,} links of {system} are of {account} now")


@app.command()
def renamed(
    ctx: typer.Context,
    place: Annotated[str, typer.Argument(metavar="OLD", help="SYSTEM:DATA_TYPE:RESOURCE as the map had it.")],
    to: Annotated[str, typer.Argument(metavar="NEW", help="The same, as the map has it now.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Say that links are of what has another name in the map now: none of its records is made again.

    Example: sorbus crosswalk renamed accounting:customer:contacts accounting:client:contacts
    """
    from sorbus.identity.left_links import LinkPlace, carry_links

    old, new = LinkPlace.read(place), LinkPlace.read(to)
    _, state = _open(ctx, new.system, new.data_type)
    if not yes:
        typer.confirm(f"The links of {old} become links of {new}. Continue?", abort=True, err=True)
    typer.echo(f"{carry_links(state, old, new):,} links of {old} are of {new} now")


@app.command()
def forget(
    ctx: typer.Context,
    place: Annotated[str, typer.Argument(metavar="OLD", help="SYSTEM:DATA_TYPE:RESOURCE as the map had it.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Forget all links of what the map doesn't have any more. The records there stay.

    Example: sorbus crosswalk forget sandbox:customer:contacts
    """
    from sorbus.errors import SorbusError
    from sorbus.identity.left_links import LinkPlace, forget_links

    old = LinkPlace.read(place)
    loaded, state = _open(ctx)
    if old.resource in loaded.resources_in(old.system).get(old.data_type, ()):
        raise SorbusError(f"a flow of the map writes {old}: `sorbus crosswalk unlink` forgets single links of it")
    if not yes:
        typer.confirm(f"If {old} comes back, its records are matched or made again. Forget?", abort=True, err=True)
    typer.echo(f"{forget_links(state, old):,} links of {old} are forgotten")


@app.command()
def unlink(
    ctx: typer.Context,
    system: SystemArgument,
    data_type: TypeArgument,
    id: IdArgument,
    resource: ResourceOption = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Forget which record in a system this one is. Its next event is matched there again.

    If no match key finds it, a duplicate is created. `sorbus duplicates list` shows possible duplicates.

    Example: sorbus crosswalk unlink accounting customer 4711
    """
    from sorbus.errors import SorbusError
    from sorbus.identity.crosswalk import Crosswalk

    loaded, state = _open(ctx, system, data_type)
    crosswalk = Crosswalk(state, system, data_type, _resource(loaded, system, data_type, resource))
    link = crosswalk.find([id]).get(id)
    if link is None:
        raise SorbusError(f"nothing is known of {data_type} {id} in {system}, so there is nothing to unlink")
    typer.echo(
        f"{data_type} {id} is {link.external_id or 'not yet made'} in {system} ({link.state}). Without the link its"
        " next event is matched again; if no match key finds the record there, a duplicate is created.",
        err=True,
    )
    if not yes:
        typer.confirm("Unlink it?", abort=True, err=True)
    crosswalk.unlink(id)
    typer.echo(f"{data_type} {id} is no longer linked in {system}")


def _open(ctx: typer.Context, system: str | None = None, data_type: str | None = None) -> tuple[LoadedMap, State]:
    """The map and its state; SorbusError if the map has no such system or data type."""
    from sorbus.errors import UsageError
    from sorbus.state.database import State

    loaded = Context.of(ctx).load()
    if system is not None and system not in loaded.map.systems:
        raise UsageError(f"the map has no system {system!r}: {', '.join(loaded.map.systems)}")
    if data_type is not None and data_type not in loaded.map.data_types:
        raise UsageError(f"the map has no data type {data_type!r}: {', '.join(loaded.map.data_types)}")
    return loaded, State.of(loaded.map.topic_prefix)


def _resource(loaded: LoadedMap, system: str, data_type: str, named: str) -> str:
    """The resource that is meant: the one named, or the only one that takes the data type. SorbusError."""
    from sorbus.errors import SorbusError

    known = loaded.resources_in(system).get(data_type, ())
    if named and named not in known:
        raise SorbusError(f"no flow brings {data_type} into {named} of {system}; known: {', '.join(known) or 'none'}")
    if not named and len(known) > 1:
        raise SorbusError(f"{data_type} goes into {', '.join(known)} of {system}; say which one is meant (--resource)")
    return named or (known[0] if known else "")
