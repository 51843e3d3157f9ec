"""`sorbus schemas`: check schemas before anything starts, see what changed, and who can still read what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sorbus.schema_evolution import Compatibility, SchemaChange

app = typer.Typer(name="schemas", help="The canonical schemas: sound, compatible, and what changed in them.")

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Type = Annotated[str, typer.Argument(metavar="TYPE", help="A data type of the map.")]
Against = Annotated[
    Path | None,
    typer.Option("--against", metavar="FILE", help="Compare with this .avsc instead of the registry's versions."),
]


@app.command()
def check(
    ctx: typer.Context,
    data_types: Annotated[list[str] | None, typer.Argument(metavar="[TYPE]...", help="Only these.")] = None,
    against: Against = None,
    strict: Annotated[bool, typer.Option("--strict", help="Missing docs and defaults are faults too.")] = False,
    as_json: Json = False,
) -> None:
    """Check the map's schemas: readable, named, documented, and compatible with every registered version by their rule.

    The rule is the data type's `compatibility:` in the map: backward, forward or full. Exits with 1 if anything breaks.

    Examples: sorbus schemas check; sorbus schemas check customer --against main/customer.avsc; in CI: --strict --json
    """
    from sorbus.errors import SchemaError, SorbusError
    from sorbus.ops.schemas.versions import Registered, faults_of, misfits, registered, rule_of
    from sorbus.schema import read_schema
    from sorbus.settings import Settings

    loaded = Context.of(ctx).load()
    names = data_types or list(loaded.map.data_types)
    if against is not None and len(names) != 1:
        raise SorbusError("--against compares one data type: name it")
    rows: list[dict[str, object]] = []
    for name in names:
        rule = rule_of(loaded, name)
        rows += [
            {"data_type": name, "path": "", "message": words, "breaks": False} for words in faults_of(loaded, name)
        ]
        try:
            schema = loaded.schema(name)
        except SchemaError:
            rows[-1]["breaks"] = True
            continue
        before = [Registered(0, 0, read_schema(against))] if against else registered(loaded, Settings(), name)
        rows += [
            {
                "data_type": name,
                "path": change.path,
                "message": f"{change.what}: not {rule} compatible with {against or where}: {change.why}",
                "breaks": True,
            }
            for where, change in misfits(schema, before, rule)
        ]
    fails = any(row["breaks"] or strict for row in rows)
    if as_json:
        typer.echo(json.dumps({"findings": rows, "checked": names}, ensure_ascii=False))
    else:
        for row in rows:
            sign = "breaks" if row["breaks"] else "note"
            typer.echo(f"{row['data_type']}: {sign}: {' '.join(filter(None, (str(row['path']), str(row['message']))))}")
        typer.echo(
            f"{len(names)} schemas checked, {sum(bool(row['breaks']) for row in rows)} incompatible or unreadable"
        )
    if fails:
        raise typer.Exit(ExitCode.FINDINGS)


@app.command()
def diff(
    ctx: typer.Context,
    data_type: Type,
    version: Annotated[int | None, typer.Option("--with", help="A registered version; the newest.")] = None,
    against: Against = None,
    as_json: Json = False,
) -> None:
    """Show field by field how the map's schema differs from a registered version, and whether that is compatible.

    Exits with 1 if a change breaks the data type's rule.

    Examples: sorbus schemas diff customer; sorbus schemas diff customer --with 2 --json
    """
    from sorbus.ops.schemas.versions import registered, rule_of, version_of
    from sorbus.schema import read_schema
    from sorbus.schema_evolution import changes_between
    from sorbus.settings import Settings

    loaded = Context.of(ctx).load()
    rule = rule_of(loaded, data_type)
    if against is not None:
        before, where = read_schema(against), str(against)
    else:
        found = version_of(registered(loaded, Settings(), data_type), version, data_type)
        before, where = found.schema, f"version {found.number}"
    changes = changes_between(before, loaded.schema(data_type))
    fits = all(change.fits(rule) for change in changes)
    if as_json:
        shown = [_as_json(change, rule) for change in changes]
        head = {"data_type": data_type, "with": where, "rule": rule, "compatible": fits, "changes": shown}
        typer.echo(json.dumps(head, ensure_ascii=False))
    elif not changes:
        typer.echo(f"{data_type} is as {where}")
    else:
        _show(changes, rule)
        typer.echo(f"{'compatible' if fits else 'NOT compatible'} with {where} by the rule {rule}")
    if not fits:
        raise typer.Exit(ExitCode.FINDINGS)


@app.command()
def history(ctx: typer.Context, data_type: Type, as_json: Json = False) -> None:
    """List the registered versions of a data type's schema, each with what changed in it.

    Example: sorbus schemas history customer
    """
    from sorbus.ops.schemas.versions import registered, rule_of, version_of
    from sorbus.schema_evolution import changes_between
    from sorbus.settings import Settings

    loaded = Context.of(ctx).load()
    rule = rule_of(loaded, data_type)
    versions = registered(loaded, Settings(), data_type)
    version_of(versions, None, data_type)
    entries: list[dict[str, object]] = []
    for place, each in enumerate(versions):
        changes = changes_between(versions[place - 1].schema, each.schema) if place else []
        entries.append({"version": each.number, "id": each.id, "changes": [_as_json(one, rule) for one in changes]})
        if not as_json:
            typer.echo(f"version {each.number} (id {each.id}): {len(each.schema.fields)} fields")
            for one in changes:
                typer.echo(f"    {one.path}: {one.what}")
    is_new = bool(changes_between(versions[-1].schema, loaded.schema(data_type)))
    if as_json:
        typer.echo(json.dumps({"data_type": data_type, "versions": entries, "map_differs": is_new}, ensure_ascii=False))
    elif is_new:
        typer.echo(f"The map's own differs: sorbus schemas diff {data_type}")


def _show(changes: Sequence[SchemaChange], rule: Compatibility) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("Field", "What changed", "Backward", "Forward", "Why", box=box.SIMPLE)
    for change in changes:
        style = "" if change.fits(rule) else "red"
        said = ["yes" if fits else "no" for fits in (change.backward, change.forward)]
        table.add_row(change.path, change.what, *said, change.why, style=style)
    Console().print(table)


def _as_json(change: SchemaChange, rule: Compatibility) -> dict[str, object]:
    return {**change._asdict(), "fits": change.fits(rule)}
