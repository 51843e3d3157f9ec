"""`sorbus preview`: what a flow would send for a record, and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.cli.show_personal import ShowPersonal

if TYPE_CHECKING:
    from pydantic import JsonValue

    from sorbus.map.field_trace import FieldTrace

app = typer.Typer()


@app.command()
def preview(
    ctx: typer.Context,
    flow: Annotated[str, typer.Argument(help="The flow, such as customer-to-accounting.")],
    id: Annotated[str, typer.Argument(help="The record's id at its owner: the event's key.")],
    explain: Annotated[
        bool, typer.Option("--explain", help="Also where each field comes from, and what each step of its rule gave.")
    ] = False,
    show_personal: ShowPersonal = False,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show what delivering a record's newest event would send to the target, and send nothing.

    Personal values are masked, and whatever the target's field holds that isn't a copy of an open one.

    Examples: sorbus preview customer-to-accounting 4711; sorbus preview customer-to-accounting 4711 --show-personal
    """
    from sorbus.abilities import Preview, SupportsPreview
    from sorbus.bus.newest import newest
    from sorbus.cli.map_explain import trace_json
    from sorbus.cli.show_personal import note_shown
    from sorbus.errors import ExitCode, PermanentError, SorbusError
    from sorbus.map.field_trace import explain_delivery
    from sorbus.privacy.preview import masked_preview
    from sorbus.settings import Settings
    from sorbus.waiting.complete import consumer_of

    loaded = Context.of(ctx).load_sound()
    bound = loaded.flow(flow)
    target = consumer_of(loaded.consumer(bound.flow.to), bound)
    if not isinstance(target, SupportsPreview):
        raise SorbusError(f"systems of kind {bound.system.system.kind} can't show what they would do")
    delivery = None
    try:
        delivery = newest(Settings(), bound, id)
    except PermanentError as error:
        shown = Preview("refuse", str(error))
    else:
        if delivery is None:
            typer.echo(f"{bound.flow.data_type} {id}: its topic has no event of it; see the id at its owner", err=True)
            raise typer.Exit(ExitCode.FINDINGS)
        try:
            target.open()
            shown = target.preview(delivery)
        finally:
            target.close()
    if show_personal:
        note_shown("preview", flow=flow, record=id)
    else:
        shown = masked_preview(shown, bound, delivery)
    traces: Sequence[FieldTrace] = ()
    if explain and delivery is not None and not delivery.deleted:
        traces = [each if show_personal else each.masked() for each in explain_delivery(loaded, bound, delivery)]
    if as_json:
        told: dict[str, JsonValue] = {"flow": flow, "id": id, **shown._asdict()}
        if explain:
            told["fields"] = [trace_json(each) for each in traces]
        typer.echo(json.dumps(told, ensure_ascii=False))
    else:
        _print(f"{bound.flow.data_type} {id} to {bound.system.name}", shown.action, shown.why, shown.request)
        for each in traces:
            typer.echo(f"  {str(each).replace(chr(10), chr(10) + '  ')}")
    raise typer.Exit(ExitCode.FINDINGS if shown.action in ("ask", "hold", "refuse", "wait") else ExitCode.FINE)


def _print(what: str, action: str, why: str, request: object) -> None:
    from rich.console import Console
    from rich.markup import escape

    colours = {
        "create": "green",
        "update": "yellow",
        "link": "cyan",
        "delete": "red",
        "ask": "magenta",
        "refuse": "red",
        "wait": "magenta",
        "hold": "magenta",
    }
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{escape(what)}: [{colours.get(action, 'dim')}]{action}[/]: {escape(why)}")
    if not isinstance(request, dict):
        return
    shown = dict(request)
    changes = shown.pop("changes", None)
    if "method" in shown:
        console.print(f"  {shown.pop('method')} {escape(str(shown.pop('path')))}")
    if isinstance(changes, dict):
        for field, (old, new) in changes.items():
            console.print(f"  {escape(field)}: {escape(_text(old))} -> {escape(_text(new))}")
    for name, value in shown.items():
        console.print(f"  {name}: {escape(_text(value))}")


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
