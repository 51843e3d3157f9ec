"""`sorbus init`: a company's first map, from questions or a file of answers."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.errors import ExitCode, Finding, MapError

if TYPE_CHECKING:
    from sorbus.abilities import Resource
    from sorbus.cli.questions import Questions
    from sorbus.map.authoring.scaffold import Answers, Beginning

app = typer.Typer()


@app.command("init")
def init_command(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Where the map goes.", file_okay=False)] = Path(),
    answers: Annotated[
        Path | None,
        typer.Option("--answers", metavar="FILE", help="Answers as YAML; asks for anything missing."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: accept the defaults.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
) -> None:
    """Create a map by answering questions: which tools, which data, who owns it, where it goes and when.

    Systems that can be reached (their NAME_DSN is set) are discovered, so that owners, tables and mapping sheets are
    offered. Existing files are overwritten only with --force.

    Answers look like: {company: Acme, systems: {crm: {kind: postgres, owner: Sales}, erp: {kind: mysql}}, data_types:
    {customer: crm}, flows: [{data_type: customer, to: erp, timing: every 15m}]}

    Examples: `sorbus init`, `CRM_DSN=postgresql://... sorbus init company`, `sorbus init --answers answers.yaml --yes`
    """
    from rich.console import Console

    from sorbus.cli.interview import interview
    from sorbus.cli.questions import Questions

    given = _read_answers(answers)
    if not yes and not sys.stdin.isatty() and not _complete(given):
        raise typer.BadParameter("there is no terminal for questions; use --answers FILE, --yes, or both")
    ask = Questions(Console(stderr=True), take_defaults=yes or _complete(given))
    told = interview(ask, given, folder)
    texts = _texts(told.beginning)
    _refuse_or_ask(ask, [folder / name for name in texts if (folder / name).exists()], force)
    for name, text in texts.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
        typer.echo(f"written: {file}", err=True)
    _save_catalogs(folder, told.resources)
    _save_secrets(folder, told.secrets)
    _finish(folder / "map.yaml", Context.of(ctx))


def _read_answers(file: Path | None) -> Answers:
    from pydantic import ValidationError

    from sorbus.map.authoring.scaffold import Answers
    from sorbus.mapfile.document import read_document
    from sorbus.mapfile.validation_messages import explain

    if file is None:
        return Answers()
    document = read_document(file)
    findings = list(document.findings)
    try:
        if not findings:
            return Answers.model_validate(document.data)
    except ValidationError as error:
        findings += [
            Finding(file, document.line(*found.path), found.message, found.fix, found.code)
            for found in explain(error, document.data, Answers)
        ]
    raise MapError(sorted(findings))


def _complete(given: Answers) -> bool:
    return None not in (given.systems, given.data_types, given.flows)


def _texts(beginning: Beginning) -> dict[Path, str]:
    import json

    from sorbus.map.authoring.scaffold import SCHEMA_FILE, files
    from sorbus.map.checks.check import json_schema

    schema = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    return {**files(beginning), Path(SCHEMA_FILE): schema}


def _refuse_or_ask(ask: Questions, there: Sequence[Path], force: bool) -> None:
    if not there or force:
        return
    names = ", ".join(str(file) for file in there)
    if ask.take_defaults or not ask.yes(f"{names}: overwrite?", False):
        typer.echo(f"sorbus: {names} already exists, so nothing was written; --force overwrites it", err=True)
        raise typer.Exit(ExitCode.REFUSED)


def _save_catalogs(folder: Path, resources: Mapping[str, Sequence[Resource]]) -> None:
    from sorbus.map.catalog import write_catalog

    for system, found in resources.items():
        typer.echo(f"written: {write_catalog(folder, system, found)}", err=True)


def _save_secrets(folder: Path, secrets: Mapping[str, str]) -> None:
    """Adds entered secrets to .env, readable only by its owner, and keeps .env out of version control."""
    ignore, file = folder / ".gitignore", folder / ".env"
    if not ignore.exists():
        ignore.write_text(".env\n", "utf-8")
    if secrets:
        from dotenv import set_key

        file.touch(mode=0o600)
        for name, value in secrets.items():
            set_key(file, name, value, quote_mode="always")
        typer.echo(f"written: {file}", err=True)


def _finish(file: Path, context: Context) -> None:
    """Checks what was written and prints the next steps."""
    from sorbus.cli.map import summary
    from sorbus.map.checks.check import check

    loaded = replace(context, map_path=file).load()
    findings = sorted(check(loaded))
    option = "" if file == Path("map.yaml") else f"--map {file} "
    for finding in findings:
        typer.echo(str(finding))
    if findings:
        typer.echo(
            f"\n{len(findings)} problem{'s' * (len(findings) != 1)} found; then: sorbus {option}map check", err=True
        )
        raise typer.Exit(ExitCode.FINDINGS)
    typer.echo(summary(loaded))
    typer.echo(f"next: sorbus {option}map draw -o map.svg, then sorbus {option}plan", err=True)
