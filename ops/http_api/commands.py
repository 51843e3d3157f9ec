"""`sorbus api`: the applications that Sorbus knows, checking a description, and trying one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.cli.show_personal import ShowPersonal
from sorbus.errors import ExitCode, MapError
from sorbus.ops.http_api.login import login_command
from sorbus.ops.http_api.new import new_command

if TYPE_CHECKING:
    from sorbus.errors import Finding

app = typer.Typer(name="api", no_args_is_help=True, help="HTTP APIs: list, new, check, try.")

app.command("login")(login_command)
app.command("new")(new_command)

AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
Named = Annotated[
    str, typer.Argument(metavar="NAME|FILE", help="A shipped description, or a file.", show_default=False)
]


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """The applications whose descriptions come with Sorbus, and their resources.

    Examples: `sorbus api list`, `sorbus api list --json | jq -r '.[].api'`
    """
    from sorbus.http_api.load import load_description, shipped

    found = [load_description(name) for name in shipped()]
    if as_json:
        rows = [
            {"api": each.api, "title": each.title, "version": each.version, "resources": list(each.resources)}
            for each in found
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    from sorbus.ops.http_api.shown import show_list

    show_list(found)


@app.command("show")
def show_command(name: Named, as_json: AsJson = False) -> None:
    """What a description says: credentials, limits, and each resource with its fields.

    Examples: `sorbus api show xero`, `sorbus api show apis/ours.yaml`, `sorbus api show stripe --json`
    """
    from sorbus.http_api.load import load_description

    description = load_description(name)
    if as_json:
        typer.echo(description.model_dump_json(by_alias=True, exclude_defaults=True, indent=2))
        return
    from sorbus.ops.http_api.shown import show_description

    show_description(description)


@app.command("schema")
def schema_command(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", dir_okay=False, help="Write to FILE, not to stdout."),
    ] = None,
) -> None:
    """The JSON Schema of a description, with which an editor completes it.

    Name it in your file's first line: `# yaml-language-server: $schema=api.schema.json`

    Examples: `sorbus api schema -o api.schema.json`
    """
    from sorbus.http_api.json_schema import json_schema

    text = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, "utf-8")


@app.command("check")
def check_command(
    name: Named,
    spec: Annotated[
        Path | None,
        typer.Option(metavar="OPENAPI", exists=True, dir_okay=False, help="The vendor's OpenAPI file, JSON or YAML."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find every problem in a description, and with --spec all in which it differs from the vendor's own file.

    Compared are each request's method, path and parameters, each field's place, type, length and values in what is
    sent and in what is answered, and what the vendor requires. Exit code 0 when all agrees, 1 when not.

    Examples: `sorbus api check apis/ours.yaml`, `sorbus api check xero --spec xero_accounting.yaml`
    """
    from sorbus.http_api.advice import advice
    from sorbus.http_api.load import read_description

    findings: list[Finding] = []
    said, advised = "", list[str]()
    try:
        description, document = read_description(name)
        said = f"{description.title}: {len(description.resources)} resources, no problems found"
        advised = list(advice(description))
        if spec is not None:
            from sorbus.http_api.openapi import read_spec
            from sorbus.http_api.openapi_diff import compare

            if description.hook:
                typer.echo(f"sorbus: {name} is carried out by {description.hook}, not by requests to compare", err=True)
                raise typer.Exit(ExitCode.WRONG_USE)
            made = compare(description, document, read_spec(spec))
            findings = made.findings
            said = f"{description.title}: {made.requests} requests and {made.fields} fields agree with {spec.name}"
    except MapError as error:
        findings = sorted(error.findings)
    if as_json:
        rows = [{**vars_of(found), "file": str(found.file)} for found in findings]
        typer.echo(json.dumps({"findings": rows, "advice": advised}, indent=2, ensure_ascii=False))
    elif findings:
        typer.echo("\n".join(str(found) for found in findings))
        typer.echo(f"\n{len(findings)} problem{'s' * (len(findings) != 1)} found", err=True)
    else:
        typer.echo(said)
        for line in advised:
            typer.echo(f"to consider: {line}", err=True)
    if findings:
        raise typer.Exit(ExitCode.FINDINGS)


@app.command("try")
def try_command(
    ctx: typer.Context,
    system: Annotated[str, typer.Argument(help="A system of the map.", show_default=False)],
    resource: Annotated[str, typer.Argument(help="One of its resources.", show_default=False)],
    id: Annotated[str, typer.Option("--id", help="This record; default: the first of the list.")] = "",
    show_personal: ShowPersonal = False,
    as_json: AsJson = False,
) -> None:
    """Read one record of an application, and show it raw and as the map makes it canonical. Changes nothing there.

    Exit code 1: the record can't be made canonical, or no data type of the map comes from that resource.

    Personal fields are masked, and of the raw record all that no mapping says is not personal.

    Examples: `sorbus api try projects projects`, `sorbus api try accounting contacts --id 4711 --show-personal`
    """
    from sorbus.cli.show_personal import note_shown
    from sorbus.errors import ExitCode
    from sorbus.http_api.values import dump_json
    from sorbus.ops.http_api.masking import masked_sample
    from sorbus.ops.http_api.sample import take

    loaded = Context.of(ctx).load()
    sample = take(loaded, system, resource, id)
    if show_personal:
        note_shown("api try", system=system, resource=resource, record=id)
    else:
        sample = masked_sample(loaded, system, sample)
    if as_json:
        shown = {"raw": sample.raw, "data_type": sample.data_type, "canonical": sample.shown()}
        typer.echo(dump_json({**shown, "why_not": sample.why_not, "warnings": list(sample.warnings)}))
    else:
        from sorbus.ops.http_api.shown import show_sample

        show_sample(sample)
    raise typer.Exit(ExitCode.FINDINGS if sample.why_not else ExitCode.FINE)


def vars_of(found: Finding) -> dict[str, object]:
    """A finding's parts by name."""
    return {"line": found.line, "code": found.code, "message": found.message, "fix": found.fix}
