"""`sorbus discover`: what a system holds, and a first guess at its data types and their owners."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.errors import ExitCode

if TYPE_CHECKING:
    from pydantic import JsonValue

    from sorbus.map.authoring.discovery import Look

app = typer.Typer()


@app.command("discover")
def discover_command(
    ctx: typer.Context,
    system: Annotated[str, typer.Argument(help="A system of the map.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON.")] = False,
    save: Annotated[
        bool, typer.Option("--save", help="Write catalog/SYSTEM.yaml, so that `map check` knows the system's fields.")
    ] = False,
    sheet: Annotated[
        bool,
        typer.Option(
            "--sheet",
            help="Write a first mappings/SYSTEM.csv, and schemas/NAME.avsc for tables of no known data type.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing mapping sheet.")] = False,
) -> None:
    """Discover a system's tables with fields, keys and counts, and the data types that they seem to hold.

    Reads the system's catalog, and counts empty values where a nullable column would fill a required field (bounded
    in time).

    Examples: `sorbus discover crm`, `sorbus discover crm --save --sheet`, `sorbus discover crm --json`
    """
    from sorbus.map.authoring.discovery import look_into

    context = Context.of(ctx)
    loaded = context.load()
    look = look_into(loaded, system)
    if as_json:
        typer.echo(json.dumps(_as_json(look), indent=2, ensure_ascii=False))
    else:
        from sorbus.cli.discovered import show

        show(look)
    if save:
        from sorbus.map.catalog import write_catalog

        typer.echo(f"written: {write_catalog(loaded.folder, system, look.resources)}", err=True)
    if sheet:
        _write_sheet(loaded.folder / "mappings" / f"{system}.csv", look, force)
    elif not as_json and not context.quiet and (look.proposals or look.drafts):
        typer.echo(f"next: sorbus discover {system} --save --sheet", err=True)


def _write_sheet(file: Path, look: Look, force: bool) -> None:
    from sorbus.map.authoring.draft_map import rows, sheet

    if file.exists() and not force:
        typer.echo(
            f"sorbus: {file} exists and was not changed; --force replaces it, with all rows that people wrote", err=True
        )
        raise typer.Exit(ExitCode.REFUSED)
    file.parent.mkdir(parents=True, exist_ok=True)
    drafts = [draft.proposal for draft in look.drafts]
    file.write_text(sheet(rows(look.system, [*look.proposals, *drafts], look.owned_elsewhere)), "utf-8")
    typer.echo(f"written: {file}", err=True)
    for draft in look.drafts:
        schema = file.parent.parent / "schemas" / f"{draft.proposal.data_type}.avsc"
        schema.parent.mkdir(parents=True, exist_ok=True)
        schema.write_text(draft.text, "utf-8")
        typer.echo(f"written: {schema}", err=True)


def _as_json(look: Look) -> dict[str, JsonValue]:
    return {
        "system": look.system,
        "resources": [
            {
                "name": each.name,
                "records": each.records,
                "key": list(each.key),
                "fields": [
                    {"name": field.name, "kind": field.kind, "native": field.native, "required": field.required}
                    for field in each.fields
                ],
                "parents": [{"resource": name, "fields": list(fields)} for name, fields in each.parents],
            }
            for each in look.resources
        ],
        "proposals": [
            {
                "data_type": each.data_type,
                "resource": each.resource.name,
                "score": each.score,
                "system_of_record": look.owners[each.data_type].system,
                "why": look.owners[each.data_type].why,
                "source": look.sources.get(each.data_type),
                "fields": [field._asdict() for field in each.fields],
                "missing": list(each.missing),
                "left_over": [left._asdict() for left in each.left_over],
            }
            for each in look.proposals
        ],
        "drafts": [
            {
                "data_type": each.proposal.data_type,
                "resource": each.proposal.resource.name,
                "key": list(each.proposal.resource.key),
                "source": look.sources.get(each.proposal.data_type),
                "fields": [field._asdict() for field in each.proposal.fields],
                "schema": json.loads(each.text),
            }
            for each in look.drafts
        ],
    }
