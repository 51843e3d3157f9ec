"""`sorbus dlq edit | requeue | discard | assign`: what people do about dead letters."""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.show_personal import ShowPersonal
from sorbus.control_characters import escaped
from sorbus.dlq.filter_options import (
    AllOption,
    AssignedOption,
    CauseOption,
    FieldOption,
    FlowOption,
    JsonOption,
    LettersArgument,
    RecordOption,
    StateOption,
    TypeOption,
    WhoOption,
    YesOption,
    chosen,
    filter_of,
    person,
    progress,
    require_cause,
    service_of,
)

if TYPE_CHECKING:
    from sorbus.dlq.form import FieldError
    from sorbus.dlq.service import Chosen, DeadLetterService

_MANY = 100
"""Dead letters that are requeued without confirmation."""
ReasonOption = Annotated[str, typer.Option("--reason", help="Only those with this reason.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (requeue, edit, discard, assign):
        app.command()(command)


def requeue(
    ctx: typer.Context,
    letters: LettersArgument = None,
    flow: FlowOption = "",
    data_type: TypeOption = "",
    reason: ReasonOption = "",
    cause: CauseOption = "",
    field: FieldOption = "",
    record: RecordOption = "",
    assigned_to: AssignedOption = "",
    state: StateOption = "unsettled",
    everything: AllOption = False,
    rate: Annotated[float | None, typer.Option("--rate", min=0.1, help="Maximum dead letters per second.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would happen; requeue nothing.")] = False,
    most: Annotated[int, typer.Option("--most", min=1, help="How many dead letters a dry run checks.")] = 100,
    yes: YesOption = False,
    who: WhoOption = "",
    show_personal: ShowPersonal = False,
    as_json: JsonOption = False,
) -> None:
    """Retry dead letters in the flow that rejected them; each is closed once delivered.

    Those already in flight aren't requeued, unless named or chosen by --state requeued. Records that a
    producer could not make canonical are read from their source again by that producer.

    Examples: sorbus dlq requeue customer-to-crm:customer:2:41; sorbus dlq requeue --all --reason NotNullViolation
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
    wanted = chosen(letters, filter, everything=everything)
    require_cause(service, cause)
    if dry_run:
        _foretell(service, wanted, most, show_personal=show_personal, as_json=as_json)
        return
    count = service.count(wanted)
    if count > _MANY and not yes and sys.stdin.isatty():
        typer.confirm(f"{count} dead letters will be requeued. Continue?", abort=True, err=True)
    with progress("requeueing", count) as told:
        done = service.requeue(wanted, person(who), rate=rate, progress=told)
    if as_json:
        sent = {"requeued": list(done.ids), "dry_run": False, "to_be_read_again": sum(done.reread.values())}
        typer.echo(json.dumps({**sent, "stranded": done.stranded}))
        return
    typer.echo(f"{len(done.ids)} requeued")
    if done.stranded:
        typer.echo(f"{done.stranded} left: the map doesn't run their flows any more; discard them")
    for system, count in sorted(done.reread.items()):
        typer.echo(f"{count} of them are rows that the producer of {system} reads again")


def edit(
    ctx: typer.Context,
    letter: Annotated[str, typer.Argument(help="The dead letter's id, as `sorbus dlq list` shows it.")],
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="A new value; may be given many times.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="The record as JSON; what it leaves out stays.")
    ] = None,
    who: WhoOption = "",
    show_personal: ShowPersonal = False,
    as_json: JsonOption = False,
) -> None:
    """Edit a dead letter's record and requeue it; without --set or --file, in $EDITOR (personal fields masked).

    The source keeps the old values: its next change overwrites this one. Exit code 1: fields are wrong.

    Examples: sorbus dlq edit LETTER --set name="Blauer See" --set "lines[0].quantity=2"; sorbus dlq edit LETTER
    """
    from sorbus.errors import ExitCode

    service = service_of(ctx)
    form, seen = service.form_seen(letter, hide=not show_personal)
    if show_personal and (found := service.letters.get(letter)):
        service.note_shown(found, person(who))
    if sets:
        pairs = [each.partition("=") for each in sets]
        if wrong := [each for each, sign, _ in pairs if not sign]:
            raise typer.BadParameter(f"write FIELD=VALUE, not {wrong[0]}")
        texts = {name: value for name, _, value in pairs}
    else:
        written = file.read_text("utf-8") if file is not None else _in_editor(form.as_json())
        if written is None:
            typer.echo("Nothing was changed.")
            return
        try:
            document = json.loads(written, parse_float=Decimal)
        except ValueError as error:
            raise typer.BadParameter(f"this is not valid JSON: {error}") from error
        if not isinstance(document, dict):
            raise typer.BadParameter("write a record: names and values in braces")
        texts = form.texts(document)
    wrong_fields: list[FieldError] = service.edit(letter, texts, person(who), hide=not show_personal, seen=seen)
    if as_json:
        told = {"edited": letter, "errors": [each._asdict() for each in wrong_fields]}
        typer.echo(json.dumps(told, ensure_ascii=False))
    elif wrong_fields:
        for path, message in wrong_fields:
            typer.echo(escaped(f"{path}: {message}" if path else message), err=True)
    else:
        typer.echo(f"{letter} was edited and requeued. Its source still has the old values: correct them there too.")
    raise typer.Exit(ExitCode.FINDINGS if wrong_fields else ExitCode.FINE)


def discard(
    ctx: typer.Context,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail, so no names.")],
    letters: LettersArgument = None,
    flow: FlowOption = "",
    data_type: TypeOption = "",
    cause: CauseOption = "",
    field: FieldOption = "",
    record: RecordOption = "",
    assigned_to: AssignedOption = "",
    everything: AllOption = False,
    yes: YesOption = False,
    who: WhoOption = "",
    as_json: JsonOption = False,
) -> None:
    """Close dead letters whose records need not be delivered; a record's next change is delivered as usual.

    Examples: sorbus dlq discard LETTER --reason "a test record"; sorbus dlq discard --cause CAUSE --reason "...
    """
    service = service_of(ctx)
    filter = filter_of(
        service.loaded,
        flow=flow,
        data_type=data_type,
        cause=cause,
        field=field,
        record=record,
        assigned_to=assigned_to,
    )
    wanted = chosen(letters, filter, everything=everything)
    require_cause(service, cause)
    count = service.count(wanted, stranded=True)
    if not yes and not letters:
        typer.confirm(f"{count} dead letters will be discarded permanently. Continue?", abort=True, err=True)
    with progress("discarding", count) as told:
        done = service.discard(wanted, person(who), reason, progress=told)
    if as_json:
        typer.echo(json.dumps({"discarded": done.count, "on_their_way": done.on_their_way}))
        return
    typer.echo(f"{done.count} discarded")
    if done.on_their_way:
        typer.echo(f"{done.on_their_way} left: on their way back to their flow; discard them if they are refused again")


def assign(
    ctx: typer.Context,
    to: Annotated[str, typer.Option("--to", metavar="WHO", help='The assignee; "" unassigns them.')],
    letters: LettersArgument = None,
    flow: FlowOption = "",
    data_type: TypeOption = "",
    reason: ReasonOption = "",
    cause: CauseOption = "",
    field: FieldOption = "",
    record: RecordOption = "",
    assigned_to: AssignedOption = "",
    everything: AllOption = False,
    who: WhoOption = "",
    as_json: JsonOption = False,
) -> None:
    """Assign dead letters to a person.

    Examples: sorbus dlq assign --to Ada --cause CAUSE; sorbus dlq assign LETTER --to ""
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
    )
    wanted = chosen(letters, filter, everything=everything)
    require_cause(service, cause)
    done = service.assign(wanted, to.strip(), person(who))
    told = f"{done} assigned to {to}" if to else f"{done} unassigned"
    typer.echo(json.dumps({"assigned": done, "to": to}) if as_json else told)


def _in_editor(text: str) -> str | None:
    """What a person makes of it in $EDITOR; None if they leave without saving."""
    import click

    return click.edit(text, extension=".json")


def _foretell(service: DeadLetterService, wanted: Chosen, most: int, *, show_personal: bool, as_json: bool) -> None:
    from collections import Counter

    from sorbus.dlq.serialize import foreseen_json

    found = service.dry_run(wanted, most=most, hide=not show_personal)
    if as_json:
        again = sum(one.action == "reread" for one in found)
        ids = [one.letter.id for one in found]
        told = {"requeued": ids, "dry_run": True, "to_be_read_again": again}
        typer.echo(json.dumps({**told, "foreseen": [foreseen_json(one) for one in found]}, ensure_ascii=False))
        return
    for one in found:
        typer.echo(escaped(f"{one.letter.id}: {one.action}: {one.why}"))
    count = service.count(wanted)
    kinds = ", ".join(f"{many} {action}" for action, many in Counter(one.action for one in found).most_common())
    more = f"; only the {len(found)} oldest were checked" if count > len(found) else ""
    typer.echo(f"{count} would be requeued{more}: {kinds}" if found else "Nothing would be requeued.")
