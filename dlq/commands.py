"""`sorbus dlq`: list, show and requeue dead letters."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.privacy.show import ShowPersonal

if TYPE_CHECKING:
    from sorbus.bus.schemabook import SchemaBook
    from sorbus.deadletter import DeadLetter
    from sorbus.dlq.private import LetterMask
    from sorbus.map.load import LoadedMap

app = typer.Typer(name="dlq", help="Dead letters: records that could not pass, with the reason, until they do.")

FlowOption = Annotated[str | None, typer.Option("--flow", help="Only this flow's.")]
TypeOption = Annotated[str | None, typer.Option("--type", help="Only this data type's.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Only those with this reason.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


@app.command("list")
def list_letters(
    ctx: typer.Context,
    flow: FlowOption = None,
    data_type: TypeOption = None,
    reason: ReasonOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the open dead letters, oldest first.

    Examples: sorbus dlq list --flow customer-to-accounting; sorbus dlq list --json | jq .reason
    """
    loaded = Context.of(ctx).load()
    mask = _mask(loaded)
    letters = [mask.letter(letter) for letter in _letters(loaded, flow, data_type, reason)]
    if as_json:
        for letter in letters:
            typer.echo(json.dumps(_as_json(letter), ensure_ascii=False))
        return
    if not letters:
        typer.echo("No dead letters: everything has landed.")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("Letter", "Record", "Flow", "Reason", "Field", "What happened", "Since", box=box.SIMPLE)
    for letter in letters:
        since = datetime.fromtimestamp(letter.first_at / 1e6, UTC).strftime("%Y-%m-%d %H:%M")
        record = f"{letter.data_type} {letter.record_id.decode(errors='replace')}"
        words = letter.words or letter.message
        table.add_row(
            letter.id, record, letter.flow or f"from {letter.system}", letter.reason, letter.field, words, since
        )
    Console().print(table)
    typer.echo(f"{len(letters)} open. Look closer: sorbus dlq show LETTER; send back: sorbus dlq requeue LETTER")


@app.command()
def show(
    ctx: typer.Context,
    letter: Annotated[str, typer.Argument(help="The letter's id, as `sorbus dlq list` shows it.")],
    show_personal: ShowPersonal = False,
    as_json: JsonOption = False,
) -> None:
    """Show one dead letter: why, from where, and what its bytes hold; personal fields are masked.

    Examples: sorbus dlq show customer-to-accounting:customer:2:41; sorbus dlq show LETTER --show-personal
    """
    from sorbus.dlq.review import decode
    from sorbus.privacy.mask import personal_names
    from sorbus.privacy.show import note_shown

    loaded = Context.of(ctx).load()
    found = _one(_letters(loaded, None, None, None), letter)
    decoded = decode(found, _book(loaded))
    has_personal = bool(personal_names(loaded.schema(found.data_type).fields))
    if show_personal:
        note_shown("dlq show", letter=found.id)
    elif has_personal:
        mask = _mask(loaded)
        found, decoded = mask.letter(found), mask.content(found, decoded)
    shown = _as_json(found) | {
        "version": decoded.version,
        "record_data": decoded.record,
        "cannot_be_read": decoded.problem,
        "bytes": (found.value or b"").hex() if show_personal or not has_personal else "",
        "headers": {name: content.decode(errors="replace") for name, content in found.headers},
    }
    if as_json:
        typer.echo(json.dumps(shown, default=str, ensure_ascii=False))
        return
    for name, value in shown.items():
        if value not in (None, "", {}):
            if isinstance(value, dict):
                typer.echo(f"{name}:")
                for key, inner in value.items():
                    typer.echo(f"    {key}: {inner}")
            else:
                typer.echo(f"{name}: {value}")


@app.command()
def requeue(
    ctx: typer.Context,
    letters: Annotated[list[str] | None, typer.Argument(help="Letters to send back; or use the options.")] = None,
    flow: FlowOption = None,
    data_type: TypeOption = None,
    reason: ReasonOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Every open letter that the options leave.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent back; send nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Send dead letters back to the flow that refused them; each is closed when it has landed.

    Records that a producer could not make canonical are read again from their source by that producer.

    Examples: sorbus dlq requeue customer-to-crm:customer:2:41; sorbus dlq requeue --all --reason NotNullViolation
    """
    from sorbus.bus.names import Names
    from sorbus.dlq.requeue import requeue as send_back
    from sorbus.settings import Settings

    loaded = Context.of(ctx).load()
    found = _letters(loaded, flow, data_type, reason)
    if letters:
        found = [_one(found, letter) for letter in letters]
    elif not (everything or flow or data_type or reason):
        raise typer.BadParameter("name letters, or choose them with --flow, --type, --reason or --all")
    if not dry_run and found:
        send_back(Settings(), Names(loaded.map.topic_prefix), found)
    again = [letter for letter in found if not letter.flow]
    if as_json:
        sent = {"requeued": [letter.id for letter in found], "dry_run": dry_run, "to_be_read_again": len(again)}
        typer.echo(json.dumps(sent))
        return
    typer.echo(f"{len(found)} {'would be' if dry_run else ''} sent back".replace("  ", " "))
    if again:
        systems = ", ".join(sorted({letter.system for letter in again}))
        typer.echo(f"{len(again)} of them are rows that {systems} is asked for again, where its producer runs")


def _book(loaded: LoadedMap) -> SchemaBook:
    from sorbus.bus.names import Names
    from sorbus.bus.schemabook import SchemaBook
    from sorbus.settings import Settings

    schemas = [loaded.schema(name) for name in loaded.map.data_types]
    return SchemaBook(Settings(), Names(loaded.map.topic_prefix), schemas)


def _mask(loaded: LoadedMap) -> LetterMask:
    from sorbus.dlq.private import LetterMask

    return LetterMask(loaded, _book(loaded))


def _letters(loaded: LoadedMap, flow: str | None, data_type: str | None, reason: str | None) -> list[DeadLetter]:
    from sorbus.bus.names import Names
    from sorbus.dlq.review import open_letters
    from sorbus.errors import SorbusError
    from sorbus.settings import Settings

    if data_type is not None and data_type not in loaded.map.data_types:
        raise SorbusError(f"the map has no data type {data_type!r}: {', '.join(loaded.map.data_types)}")
    if flow is not None and flow not in {each.id for each in loaded.map.flows}:
        raise SorbusError(f"the map has no flow {flow!r}: {', '.join(each.id for each in loaded.map.flows)}")
    wanted = [data_type] if data_type else list(loaded.map.data_types)
    letters = open_letters(Settings(), Names(loaded.map.topic_prefix), wanted)
    return [
        letter
        for letter in letters
        if (flow is None or letter.flow == flow) and (reason is None or letter.reason == reason)
    ]


def _one(letters: list[DeadLetter], id: str) -> DeadLetter:
    from sorbus.errors import SorbusError

    for letter in letters:
        if letter.id == id:
            return letter
    raise SorbusError(f"no open dead letter is called {id!r}; see `sorbus dlq list`")


def _as_json(letter: DeadLetter) -> dict[str, object]:
    return {
        "id": letter.id,
        "data_type": letter.data_type,
        "record": letter.record_id.decode(errors="replace"),
        "flow": letter.flow,
        "system": letter.system,
        "reason": letter.reason,
        "field": letter.field,
        "rule": letter.rule,
        "message": letter.message,
        "words": letter.words,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "attempts": letter.attempts,
        "first_at": datetime.fromtimestamp(letter.first_at / 1e6, UTC).isoformat(),
        "last_at": datetime.fromtimestamp(letter.last_at / 1e6, UTC).isoformat(),
    }
