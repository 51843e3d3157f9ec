"""`sorbus api new`: a first description of an application, each guess marked, for a person to finish."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from sorbus.http_api.draft.notes import Draft
    from sorbus.http_api.openapi import Spec


def new_command(
    name: Annotated[str, typer.Argument(help="What to call it, in small letters: crm-next.", show_default=False)],
    spec: Annotated[
        str, typer.Option(metavar="FILE|URL", help="The vendor's OpenAPI 3 or Swagger 2 file, JSON or YAML.")
    ] = "",
    answer: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="Or a list (or one record) to ask for; may be repeated.")
    ] = None,
    saved: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH=FILE", help="Or an answer in a file, and the path that was asked for; repeatable."),
    ] = None,
    resource: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME|PATH", help="Describe these collections of the file alone; may be repeated."),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(metavar="'NAME: ${VAR}'", help="Sent with requests; the secret is in the environment variable."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write; default: apis/NAME.yaml.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the file, and write nothing.")] = False,
    just_list: Annotated[bool, typer.Option("--list", help="Only list the collections of the OpenAPI file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Report the guesses as JSON.")] = False,
) -> None:
    """Make a first description from a vendor's OpenAPI file, or from some answers. Never overwrites a file.

    Each guess is a comment that says why, and what to check. What couldn't be found is a TODO, and `sorbus api check`
    and `sorbus map check` refuse the file, in words, until a person has filled it in. Only GET is sent.

    Exit codes: 0 written, 2 nothing to describe or the file exists, 3 an address can't be reached, 4 it needs a
    credential.

    Examples: `sorbus api new shop --spec spec.json --list`, `sorbus api new shop --spec spec.json --resource orders`,
    `sorbus api new shop --answer https://shop.example/api/customers?limit=50 --header 'X-API-Key: ${SHOP_KEY}'`,
    `sorbus api new shop --saved /api/customers=customers.json --dry-run`
    """
    from sorbus.http_api.draft.from_openapi import collections
    from sorbus.http_api.draft.write import write_draft
    from sorbus.ops.http_api.draft import header_from, spec_from

    if bool(spec) == bool(answer or saved):
        raise UsageError("give either --spec, or --answer and --saved: from what is the description made?")
    headers, auth = dict[str, str](), None
    for one in header or ():
        known, value, auth = header_from(one)
        headers[known] = value
    if spec:
        read = spec_from(spec, headers)
        if just_list:
            _list(read, as_json)
            return
        draft, source = _from_spec(name, read, resource or []), spec
        found = len(collections(read))
    else:
        draft = _from_answers(name, answer or [], saved or [], headers, auth)
        source, found = ", ".join([*(answer or ()), *(saved or ())]), 0
    text = write_draft(draft, source.partition("?")[0])
    file = output or Path("apis") / f"{name}.yaml"
    if dry_run:
        typer.echo(text, nl=False)
    else:
        _write(file, text)
    _report(draft, file, found, as_json=as_json, is_dry=dry_run)


def _from_spec(name: str, spec: Spec, wanted: list[str]) -> Draft:
    from sorbus.http_api.draft.from_openapi import collections, draft_openapi, unknown
    from sorbus.spelling import closest

    known = [each for one in collections(spec) for each in (one.name, one.path)]
    if wrong := unknown(spec, wanted):
        raise UsageError(f"the file has no collection {wrong[0]}; {closest(wrong[0], known)}")
    draft = draft_openapi(_api(name), spec, wanted)
    if not draft.data["resources"]:
        fix = "--list shows what there is, --resource describes it" if known else "give answers instead: --answer URL"
        raise UsageError(f"the file has no list of records at its top that can be described; {fix}")
    return draft


def _from_answers(name: str, urls: list[str], saved: list[str], headers: Mapping[str, str], auth: JsonValue) -> Draft:
    from sorbus.http_api.draft.from_answers import draft_answers
    from sorbus.ops.http_api.draft import answer_from, saved_answer

    answers = [*(answer_from(url, headers) for url in urls), *(saved_answer(each) for each in saved)]
    try:
        return draft_answers(_api(name), answers, auth)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _api(name: str) -> str:
    import re

    if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        raise UsageError(f"{name!r} can't be its name: write small letters, digits and -, such as crm-next")
    return name


def _list(spec: Spec, as_json: bool) -> None:
    from sorbus.http_api.draft.from_openapi import collections

    rows = [
        {"name": one.name, "path": one.path, "record": one.item, "methods": spec.methods(one.path)}
        for one in collections(spec)
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    width = max((len(str(row["name"])) for row in rows), default=0)
    for row in rows:
        inside = "" if row["record"] else "   (no address of a single record)"
        typer.echo(f"{row['name']:{width}}  {row['path']}{inside}")


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError as error:
        message = f"{file} exists, and is never overwritten; name another with --output, or remove it"
        raise UsageError(message) from error
    except OSError as error:
        raise UsageError(f"can't write {file}: {error.strerror}") from error


def _report(draft: Draft, file: Path, found: int, *, as_json: bool, is_dry: bool) -> None:
    resources = draft.data["resources"]
    assert isinstance(resources, dict)
    guesses = [one for one in draft.guesses.values() if not one.is_todo]
    todos = [one for one in draft.guesses.values() if one.is_todo]
    if as_json:
        report = {
            "file": None if is_dry else str(file),
            "resources": list(resources),
            "guesses": [{"place": one.place, "value": one.value, "why": one.why} for one in guesses],
            "todo": [{"place": one.place, "what": one.why} for one in todos],
            "left_out": draft.left_out,
        }
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False), err=is_dry)
        return
    of = f" of {found}" if found > len(resources) else ""
    typer.echo(f"{file}: {len(resources)}{of} collections, {len(guesses)} guesses, {len(todos)} left to do", err=True)
    for one in todos:
        typer.echo(f"  to do: {one.place}: {one.why}", err=True)
    if not is_dry:
        typer.echo(f"Read its comments, then: sorbus api check {file}", err=True)
