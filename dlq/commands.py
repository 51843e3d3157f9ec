"""`sorbus dlq`: reading dead letters. What is done about them is in `action_commands.py`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sorbus.cli.show_personal import ShowPersonal
from sorbus.control_characters import escaped
from sorbus.dlq import action_commands
from sorbus.dlq.filter_options import (
    AssignedOption,
    CauseOption,
    FieldOption,
    FlowOption,
    JsonOption,
    ReasonOption,
    RecordOption,
    StateOption,
    TypeOption,
    filter_of,
    person,
    progress,
    require_cause,
    service_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sorbus.dlq.service import DeadLetterService
    from sorbus.dlq.store import Letter, LetterFilter

app = typer.Typer(name="dlq", help="Dead letters: records that couldn't be delivered, each with its cause.")
_PAGE = 1_000


@app.command("list")
def list_letters(
    ctx: typer.Context,
    flow: FlowOption = "",
    data_type: TypeOption = "",
    reason: ReasonOption = "",
    cause: CauseOption = "",
    field: FieldOption = "",
    record: RecordOption = "",
    assigned_to: AssignedOption = "",
    state: StateOption = "unsettled",
    most: Annotated[int, typer.Option("--most", min=1, help="How many rows the table has; --json gives all.")] = 100,
    by_cause: Annotated[bool, typer.Option("--by-cause", help="Grouped by cause, as `groups`.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the dead letters that aren't closed, oldest first.

    Examples: sorbus dlq list --flow customer-to-accounting; sorbus dlq list --json | jq .reason
    """
    service = service_of(ctx)
    filter = filter_of(
        service.loaded,
        flow=flow,
        data_type=data_type,
        reason=reason,
        cause=cause,
        field=field,
        record=record,
        assigned_to=assigned_to,
        state=state,
    )
    service.index.catch_up()
    require_cause(service, cause)
    if by_cause:
        _show_groups(service, filter, as_json)
        return
    if as_json:
        from sorbus.dlq.serialize import letter_json

        for letter in _masked(service, filter, None):
            typer.echo(json.dumps(letter_json(letter), ensure_ascii=False))
        return
    _show_letters(service, filter, most)


@app.command()
def groups(
    ctx: typer.Context,
    flow: FlowOption = "",
    data_type: TypeOption = "",
    reason: ReasonOption = "",
    field: FieldOption = "",
    assigned_to: AssignedOption = "",
    state: StateOption = "unsettled",
    as_json: JsonOption = False,
) -> None:
    """Show dead letters grouped by cause, the largest group first.

    Examples: sorbus dlq groups; sorbus dlq requeue --cause CAUSE
    """
    service = service_of(ctx)
    filter = filter_of(
        service.loaded,
        flow=flow,
        data_type=data_type,
        reason=reason,
        field=field,
        assigned_to=assigned_to,
        state=state,
    )
    service.index.catch_up()
    _show_groups(service, filter, as_json)


@app.command()
def show(
    ctx: typer.Context,
    letter: Annotated[str, typer.Argument(help="The dead letter's id, as `sorbus dlq list` shows it.")],
    difference: Annotated[bool, typer.Option("--difference", help="Also what the target has now.")] = False,
    show_personal: ShowPersonal = False,
    as_json: JsonOption = False,
) -> None:
    """Show one dead letter: why, from where, its payload and its history; personal fields are masked.

    Examples: sorbus dlq show customer-to-accounting:customer:2:41 --difference; sorbus dlq show LETTER --show-personal
    """
    from sorbus.dlq.explain import explain
    from sorbus.dlq.serialize import difference_json, entry_json, letter_json
    from sorbus.errors import SorbusError

    service = service_of(ctx)
    found = service.find(letter)
    if found is None:
        raise SorbusError(f"no dead letter is called {letter!r}; see `sorbus dlq list`")
    opened = service.look_at(found, person(""), show_personal=show_personal)
    explained = explain(service.loaded, opened.letter.dead)
    shown: dict[str, object] = {
        "what_is_wrong": explained.what,
        "what_to_do": explained.fix,
        **letter_json(opened.letter),
        "record_data": opened.decoded.record,
        "cannot_be_read": opened.decoded.problem,
        "bytes": (opened.raw or b"").hex(),
        "headers": {name: content.decode(errors="replace") for name, content in opened.letter.dead.headers},
        "history": [entry_json(each) for each in opened.history],
    }
    if difference:
        differs = service.difference(letter, hide=not show_personal)
        shown["target_has"] = None if differs is None else [difference_json(one) for one in differs]
    if as_json:
        typer.echo(json.dumps(shown, default=str, ensure_ascii=False))
        return
    for name, value in shown.items():
        if value not in (None, "", {}, [], False):
            typer.echo("\n".join(_lines(name, value)))


@app.command()
def export(
    ctx: typer.Context,
    flow: FlowOption = "",
    data_type: TypeOption = "",
    reason: ReasonOption = "",
    cause: CauseOption = "",
    field: FieldOption = "",
    record: RecordOption = "",
    assigned_to: AssignedOption = "",
    state: StateOption = "unsettled",
    format: Annotated[Literal["json", "csv"], typer.Option("--format", help="JSON lines, or CSV.")] = "json",
) -> None:
    """Write dead letters to standard output, for other tools; record contents are masked or left out.

    Examples: sorbus dlq export > letters.jsonl; sorbus dlq export --format csv --state all > letters.csv
    """
    import csv

    from sorbus.dlq.serialize import letter_json

    service = service_of(ctx)
    filter = filter_of(
        service.loaded,
        flow=flow,
        data_type=data_type,
        reason=reason,
        cause=cause,
        field=field,
        record=record,
        assigned_to=assigned_to,
        state=state,
    )
    service.index.catch_up()
    require_cause(service, cause)
    written: csv.DictWriter[str] | None = None
    for letter in _masked(service, filter, None):
        row = letter_json(letter)
        if format == "json":
            typer.echo(json.dumps(row, ensure_ascii=False))
            continue
        if written is None:
            written = csv.DictWriter(sys.stdout, list(row))
            written.writeheader()
        written.writerow({name: _cell(value) for name, value in row.items()})


@app.command()
def reindex(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """Rebuild the index of dead letters from their topics; assignments and history are kept.

    Example: sorbus dlq reindex
    """
    service = service_of(ctx)
    with progress("reading dead letters", 0) as told:
        count = service.index.rebuild(told)
    open_now = service.letters.count(filter_of(service.loaded))
    typer.echo(
        json.dumps({"messages": count, "open": open_now})
        if as_json
        else f"{count} messages read; {open_now} letters are open"
    )


def _lines(name: str, value: object) -> Iterator[str]:
    """One thing that is known of a letter, for people."""
    if isinstance(value, dict):
        yield f"{name}:"
        yield from (f"    {key}: {escaped(str(inner))}" for key, inner in value.items())
    elif isinstance(value, list):
        yield f"{name}:"
        for each in value:
            if name == "history":
                told = f"{each['at'][:16]} {each['who']}: {each['action']} {each['reason']}".rstrip()
            else:
                sign = "!=" if each["differs"] else "=="
                told = f"{each['field']}: {each['now']} {sign} {each['error'] or each['letter']}"
            yield f"    {escaped(told)}"
    else:
        yield f"{name}: {escaped(str(value))}"


def _masked(service: DeadLetterService, filter: LetterFilter, most: int | None) -> Iterator[Letter]:
    """All letters of a filter, page by page, with what is said of their records masked, and without their bytes."""
    from dataclasses import replace

    from sorbus.dlq.serialize import masked_letter

    after, left = None, most
    while left is None or left > 0:
        page = service.letters.page(filter, after, _PAGE if left is None else min(left, _PAGE))
        if not page:
            return
        for letter in page:
            shown = masked_letter(service.mask, letter)
            yield replace(shown, dead=replace(shown.dead, value=None))
        after = page[-1].spot
        left = None if left is None else left - len(page)


def _show_letters(service: DeadLetterService, filter: LetterFilter, most: int) -> None:
    from sorbus.dlq.serialize import moment, where

    letters = list(_masked(service, filter, most))
    if not letters:
        typer.echo("No dead letters. What waits, and how far each flow is: sorbus waiting list, sorbus status")
        return
    for letter in letters:
        dead = letter.dead
        given = f", assigned to {letter.assigned_to}" if letter.assigned_to else ""
        place = f"{where(dead.flow, dead.system)}, {letter.state} since {moment(letter.first_at)}{given}"
        _print_entry(f"{dead.data_type} {letter.record}", place, dead.words or dead.message, letter.id)
    count = len(letters) if len(letters) < most else service.letters.count(filter)
    more = f" ({most} shown; by cause: sorbus dlq groups)" if count > len(letters) else ""
    typer.echo(f"{count} open{more}. Details: sorbus dlq show LETTER. Retry: sorbus dlq requeue LETTER")


def _show_groups(service: DeadLetterService, filter: LetterFilter, as_json: bool) -> None:
    from sorbus.dlq.explain import explain
    from sorbus.dlq.serialize import group_json, moment, where

    found = service.groups(filter)
    if as_json:
        for group in found:
            typer.echo(json.dumps(group_json(group), ensure_ascii=False))
        return
    if not found:
        typer.echo("No dead letters. What waits, and how far each flow is: sorbus waiting list, sorbus status")
        return
    for group in found:
        explained = explain(service.loaded, group)
        sent = f", {group.under_way} of them requeued" if group.under_way else ""
        place = f"{explained.title}, {where(group.flow, group.system)}, since {moment(group.first_at)}{sent}"
        _print_entry(
            f"{group.count:,} x {group.data_type}",
            place,
            f"{explained.what} ({group.words or group.message})",
            f"cause {group.cause}",
        )
    typer.echo("After fixing a cause: sorbus dlq requeue --cause CAUSE (--dry-run shows what would happen)")


def _print_entry(what: str, place: str, words: str, id: str) -> None:
    """Three lines that fit any terminal: what it is and since when, why, and by what name commands know it."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False)
    what, place, words, id = map(escaped, (what, place, words, id))
    console.print(Text.assemble((what, "bold"), "  ", place), soft_wrap=not console.is_terminal)
    console.print(Padding(Text(words), (0, 0, 0, 4)) if console.is_terminal else Text(f"    {words}"), soft_wrap=True)
    console.print(Text(f"    {id}", "dim"), soft_wrap=True)


def _cell(value: object) -> object:
    """A value that a spreadsheet doesn't take for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value


action_commands.register(app)
