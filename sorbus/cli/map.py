"""`sorbus map`: check, draw and document the map."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.cli.map_advise import advise_command
from sorbus.cli.map_examples import examples_command
from sorbus.cli.map_explain import explain_command
from sorbus.cli.map_import import import_command
from sorbus.cli.map_routes import routes_command, show_notes
from sorbus.cli.map_suggest import suggest_command
from sorbus.errors import ExitCode, Finding, MapError

if TYPE_CHECKING:
    from sorbus.map.loaded import LoadedMap, Route

app = typer.Typer(name="map", no_args_is_help=True, help="Check, draw and document the map.")

Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", dir_okay=False, help="Write to FILE, not to stdout.")
]


class DrawingFormat(StrEnum):
    """Formats of a map's drawing."""

    MERMAID = "mermaid"
    SVG = "svg"


class DocFormat(StrEnum):
    """Formats of the data-flow document."""

    MD = "md"
    XLSX = "xlsx"
    CSV = "csv"


@app.command("check")
def check_command(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Findings as JSON.")] = False
) -> None:
    """Find every problem in the map at once: FILE:LINE, what is wrong, and the fix.

    Notes on stderr name the canonical field behind each system-to-system row, systems that are the same one, and
    targets that `match:` does nothing for.
    Exit code 0 when there are none, 1 otherwise.

    Examples: `sorbus map check`, `sorbus --map company/map.yaml map check --json`
    """
    from sorbus.map.checks.check import check
    from sorbus.map.checks.same_system import same_places
    from sorbus.map.checks.unmatched import unmatched

    loaded: LoadedMap | None = None
    routes: tuple[Route, ...] = ()
    notes: list[str] = []
    try:
        loaded = Context.of(ctx).load()
        routes = loaded.routes
        findings = sorted(check(loaded))
        notes = [*map(str, routes), *loaded.notices, *same_places(loaded), *unmatched(loaded)]
    except MapError as error:
        findings = sorted(error.findings)
    if as_json:
        found = {"findings": [_as_dict(finding) for finding in findings], "notes": notes}
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif not Context.of(ctx).quiet:
        show_notes(routes)
        for note in notes[len(routes) :]:
            typer.echo(note, err=True)
    if findings and not as_json:
        for finding in findings:
            typer.echo(str(finding))
        typer.echo(f"\n{len(findings)} problem{'s' * (len(findings) != 1)} found", err=True)
    elif loaded and not as_json and not Context.of(ctx).quiet:
        typer.echo(summary(loaded))
    if findings:
        raise typer.Exit(ExitCode.FINDINGS)


@app.command("draw")
def draw_command(
    ctx: typer.Context,
    form: Annotated[
        DrawingFormat | None,
        typer.Option("--format", help="Default: by FILE's extension, else mermaid.", show_default=False),
    ] = None,
    output: Output = None,
) -> None:
    """Draw the map: systems, owners, what goes where and when, what is done by hand or not at all.

    A map with findings can be drawn too, if it can be read.

    Examples: `sorbus map draw > map.mmd`, `sorbus map draw -o map.svg`
    """
    company = Context.of(ctx).load().as_written.map
    if form is DrawingFormat.SVG or (form is None and output is not None and output.suffix.lower() == ".svg"):
        from sorbus.map.render.svg import svg

        _write(svg(company), output)
    else:
        from sorbus.map.render.diagram import mermaid

        _write(mermaid(company), output)


@app.command("doc")
def doc_command(
    ctx: typer.Context,
    form: Annotated[
        DocFormat | None, typer.Option("--format", help="Default: by FILE's extension, else md.", show_default=False)
    ] = None,
    output: Output = None,
    rows: Annotated[
        bool,
        typer.Option("--rows", help="Only the mapping sheets' rows, which can be read as a sheet again (CSV, XLSX)."),
    ] = False,
    pages: Annotated[
        Path | None,
        typer.Option("--pages", metavar="FOLDER", help="A page per data type, for people who read no code."),
    ] = None,
) -> None:
    """Write the data-flow document: every field from its source to its targets, and how it is transformed.

    Markdown includes the drawing, systems, owners, timings and manual steps; so does XLSX, on further tabs, followed
    by each flow's rows as in the mapping sheets: such a workbook in mappings/ is read as sheets again. CSV has only
    the fields, or with --rows the sheets' rows.

    With --pages a page per data type, as HTML or with --format md as Markdown: who owns it, who gets it and when, what
    is changed on the way in plain words, and what happens when it fails; with an overview, to print or for a wiki.

    Examples: `sorbus map doc -o data-flows.xlsx`, `sorbus map doc > docs/data-flows.md`,
    `sorbus map doc --rows -o mapping.csv`, `sorbus map doc --pages data-pages`
    """
    if pages is not None:
        if rows or output is not None or form not in (None, DocFormat.MD):
            raise typer.BadParameter("--pages writes HTML, or with --format md Markdown, into its folder alone")
        _write_pages(Context.of(ctx).load(), pages, is_markdown=form is DocFormat.MD)
        return
    from sorbus.map.render.report import document, to_csv

    if form is None:
        form = next((each for each in DocFormat if output and output.suffix.lower() == f".{each}"), DocFormat.MD)
    if form is DocFormat.XLSX and output is None:
        raise typer.BadParameter("a workbook needs a file: sorbus map doc -o data-flows.xlsx")
    loaded = Context.of(ctx).load()
    if rows:
        from sorbus.map.render.tables import rows_csv, rows_table
        from sorbus.map.render.xlsx import workbook

        table = rows_table("Mapping", loaded.written)
        _write(workbook([table]) if form is DocFormat.XLSX else rows_csv(loaded.written), output)
        return
    doc = document(loaded)
    if form is DocFormat.XLSX:
        from sorbus.map.render.tables import tabs
        from sorbus.map.render.xlsx import to_xlsx

        _write(to_xlsx(doc, tabs(loaded)), output)
    elif form is DocFormat.CSV:
        _write(to_csv(doc), output)
    else:
        from sorbus.map.render.markdown import to_markdown

        _write(to_markdown(doc), output)


def _write_pages(loaded: LoadedMap, folder: Path, *, is_markdown: bool) -> None:
    from sorbus.map.render.pages.html_page import to_html
    from sorbus.map.render.pages.markdown_page import to_markdown_page
    from sorbus.map.render.pages.overview import DRAWING, pages
    from sorbus.map.render.svg import svg

    folder.mkdir(parents=True, exist_ok=True)
    (folder / DRAWING).write_text(svg(loaded.map), "utf-8")
    found = pages(loaded)
    for page in found:
        name = f"{page.name}.{'md' if is_markdown else 'html'}"
        (folder / name).write_text(to_markdown_page(page) if is_markdown else to_html(page), "utf-8")
    typer.echo(f"written: {folder}: an overview and {len(found) - 1} pages, one per data type", err=True)


@app.command("schema")
def schema_command(output: Output = None) -> None:
    """Print the JSON Schema of map.yaml, so that an editor completes and checks it.

    Name it on the map's first line: `# yaml-language-server: $schema=map.schema.json`

    Example: `sorbus map schema -o map.schema.json`
    """
    from sorbus.map.checks.check import json_schema

    _write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n", output)


@app.command("rules")
def rules_command(output: Output = None) -> None:
    """Print the reference of mapping rules: every filter, its arguments and result, with an example.

    Example: `sorbus map rules | less`
    """
    from sorbus.mapping.rules_page import reference

    _write(reference(), output)


app.command("explain")(explain_command)
app.command("test")(examples_command)
app.command("routes")(routes_command)
app.command("import")(import_command)
app.command("suggest")(suggest_command)
app.command("advise")(advise_command)


def summary(loaded: LoadedMap) -> str:
    """One line for a valid map: what it contains."""
    company = loaded.as_written.map
    counts = {
        "system": len(company.systems) - len(company.steps),
        "data type": len(company.data_types),
        "flow": len(company.flows),
        "field mapping": len(loaded.mappings),
    }
    parts = ", ".join(f"{count} {what}{'s' * (count != 1)}" for what, count in counts.items())
    return f"{company.company}: {parts}; no problems found"


def _as_dict(finding: Finding) -> dict[str, str | int]:
    return {
        "file": str(finding.file),
        "line": finding.line,
        "code": finding.code,
        "message": finding.message,
        "fix": finding.fix,
    }


def _write(content: str | bytes, output: Path | None) -> None:
    if output is None:
        typer.echo(content, nl=False)
        return
    try:
        output.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise typer.BadParameter(f"{output} can't be written: {error.strerror}", param_hint="--output") from error
    typer.echo(f"written: {output}", err=True)
