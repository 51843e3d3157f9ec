"""`sorbus map test`: the examples beside the mapping, run as tests."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from sorbus.cli.context import Context
from sorbus.errors import ExitCode, MapError


def examples_command(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Differences as JSON.")] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Write the results into the files; review `git diff` before keeping them.")
    ] = False,
) -> None:
    """Run the examples in mappings/examples: does each record still become what is expected?

    Exit code 0 if all do, 1 otherwise. Uses only the map's folder.

    Examples: `sorbus map test`, `sorbus --map company/map.yaml map test --json`, `sorbus map test --update`
    """
    from sorbus.cli.map_explain import trace_json
    from sorbus.map.checks.bound import bind
    from sorbus.map.examples import read_examples

    context = Context.of(ctx)
    bound = bind(context.load().for_check())
    found, findings = read_examples(bound)
    if findings or bound.findings:
        raise MapError(sorted({*findings, *bound.findings}))
    if update:
        for examples in found:
            made = examples.updated()
            if made != examples.file.read_text("utf-8-sig"):
                examples.file.write_text(made, "utf-8")
                typer.echo(f"written: {examples.file}", err=True)
        return
    differences = [difference for examples in found for difference in examples.differences()]
    count = sum(len(examples.rows) for examples in found)
    if as_json:
        told = [
            {
                "file": str(each.file), "line": each.line, "field": each.field, "expected": each.expected,
                "got": each.got, "trace": trace_json(each.trace) if each.trace else None,
            }
            for each in differences
        ]  # fmt: skip
        typer.echo(json.dumps({"examples": count, "differences": told}, indent=2, ensure_ascii=False))
    elif differences:
        for each in differences:
            typer.echo(str(each))
        typer.echo(
            f"\n{count} examples, {len(differences)} field{'s' * (len(differences) != 1)} not as expected", err=True
        )
    elif not context.quiet:
        typer.echo(f"{count} examples, all as expected" if count else "no examples in mappings/examples")
    if differences:
        raise typer.Exit(ExitCode.FINDINGS)
