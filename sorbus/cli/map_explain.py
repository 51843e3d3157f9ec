"""`sorbus map explain`: where each field of a record comes from, step by step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.cli.show_personal import ShowPersonal, note_shown
from sorbus.errors import ExitCode, MapError
from sorbus.spelling import closest

if TYPE_CHECKING:
    from pydantic import JsonValue

    from sorbus.connector import BoundFlow
    from sorbus.map.checks.bound import Bound
    from sorbus.map.field_trace import FieldTrace


def explain_command(
    ctx: typer.Context,
    flow: Annotated[str, typer.Argument(help="The flow, such as customer-to-accounting.")],
    id: Annotated[str, typer.Option("--id", help="The record ID in the source system; uses its newest event.")] = "",
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="FILE", dir_okay=False, help="A canonical record, as a JSON object."),
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--source", metavar="FILE", dir_okay=False, help="A source row, as a JSON object.")
    ] = None,
    field: Annotated[str, typer.Option("--field", help="Only this field, of either side.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
    show_personal: ShowPersonal = False,
) -> None:
    """Show field by field where a record's values come from: which fields, which rule, and the result of each step.

    With --source both halves are shown: from the source row to the canonical record, and from that to the target. Lists
    are in the file under their field's name. Personal values are masked. Exit code 1 if a rule rejects a value.

    Examples: sorbus map explain customer-to-accounting --id 4711 --field zip

    sorbus map explain customer-to-accounting --source row.json --json
    """
    from sorbus.map.checks.bound import bind
    from sorbus.map.field_trace import canonical_of, explain_source, explain_target

    if sum(map(bool, (id and not (record or source), record, source))) != 1:
        raise typer.BadParameter("name one of --id ID, --record FILE, --source FILE")
    bound = bind(Context.of(ctx).load().for_check())
    found = flow_of(bound, flow)
    halves: dict[str, Sequence[FieldTrace]] = {}
    canonical: Mapping[str, object] = {}
    if source is not None:
        name = found.flow.data_type
        if name not in bound.sources:
            raise typer.BadParameter(f"no connector captures {name}; give a canonical record with --record")
        halves["source"] = explain_source(bound, bound.sources[name], read_object(source))
        canonical = canonical_of(halves["source"])
    elif record is not None:
        canonical = _typed(read_object(record), found, record)
    if id and not (record or source):
        halves["target"] = _newest(Context.of(ctx), flow, id)
    else:
        halves["target"] = explain_target(bound, found, canonical, id or str(canonical.get("id", "(its id)")))
    known = {name for traces in halves.values() for each in traces for name in _names(each)}
    if field and field not in known:
        raise typer.BadParameter(f"no field is called {field!r}; {closest(field, known)}", param_hint="--field")
    halves = {half: [each for each in traces if not field or field in _names(each)] for half, traces in halves.items()}
    if show_personal:
        note_shown("map explain", flow=flow, id=id)
    shown = {
        half: [each if show_personal else each.masked() for each in each_half] for half, each_half in halves.items()
    }
    if as_json:
        typer.echo(json.dumps({half: [trace_json(each) for each in traces] for half, traces in shown.items()}, indent=2,
                              ensure_ascii=False))  # fmt: skip
    else:
        for half, traces in ((half, traces) for half, traces in shown.items() if traces):
            title = (
                f"{found.flow.data_type} from its owner"
                if half == "source"
                else f"{found.flow.data_type} to {found.system.name}"
            )
            typer.echo(typer.style(title, bold=True))
            for each in traces:
                typer.echo(f"  {str(each).replace(chr(10), chr(10) + '  ')}")
    if any(each.error for traces in halves.values() for each in traces):
        raise typer.Exit(ExitCode.FINDINGS)


def flow_of(bound: Bound, flow: str) -> BoundFlow:
    """A flow that runs; MapError if there is none of that name, or why it can't run."""
    flows = {each.flow.id: each for each in bound.flows.values()}
    if flow in flows:
        return flows[flow]
    if bound.findings:
        raise MapError(bound.findings)
    raise MapError(
        [bound.loaded.finding(("flows",), "unknown-flow", f"no running flow is called {flow!r}", closest(flow, flows))]
    )


def read_object(file: Path) -> dict[str, object]:
    """A file's JSON object, with exact numbers."""
    try:
        found = json.loads(file.read_text("utf-8"), parse_float=Decimal)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{file} can't be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise typer.BadParameter(f'{file} does not contain a JSON object, such as {{"name": "A"}}')
    return found


def trace_json(found: FieldTrace) -> dict[str, JsonValue]:
    """A field's trace as JSON; values are text, as they would be written."""
    return {
        "field": found.into,
        "item": found.item or None,
        "value": plain(found.value),
        "error": found.error or None,
        "from": [{"field": name, "value": plain(value)} for name, value in found.sources],
        "rule": found.rule or None,
        "steps": [
            {"step": step.name, "value": plain(step.value), "error": step.error or None, "notice": step.notice or None}
            for step in found.steps
        ],
        "where": found.where or None,
    }


def plain(value: object) -> JsonValue:
    """A value in JSON; types that JSON lacks (dates, exact decimals) become text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _names(found: FieldTrace) -> set[str]:
    """Accepted names of a traced field and of its inputs: with its resource, without the schema, bare."""
    names = {found.into, found.place.name, *(name for name, _ in found.sources)}
    return {name.split(".", behind)[-1] for name in names for behind in range(name.count(".") + 1)}


def _typed(record: Mapping[str, object], flow: BoundFlow, file: Path) -> Mapping[str, object]:
    from sorbus.map.field_trace import typed

    try:
        return typed(record, flow.schema)
    except ValueError as error:
        raise typer.BadParameter(f"{file} is not a valid {flow.flow.data_type}: {error}") from error


def _newest(context: Context, flow: str, id: str) -> Sequence[FieldTrace]:
    from sorbus.bus.newest import newest
    from sorbus.map.field_trace import explain_delivery
    from sorbus.settings import Settings

    loaded = context.load_sound()
    bound = loaded.flow(flow)
    delivery = newest(Settings(), bound, id)
    if delivery is None or delivery.deleted:
        state = "its topic has no event for it" if delivery is None else "it is deleted"
        typer.echo(f"{bound.flow.data_type} {id}: {state}; check the record ID in the source system", err=True)
        raise typer.Exit(ExitCode.FINDINGS)
    return explain_delivery(loaded, bound, delivery)
