"""`sorbus conflicts`: fields changed in a system that doesn't own them; a person decides which value wins."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.cli.show_personal import ShowPersonal
from sorbus.control_characters import escaped

if TYPE_CHECKING:
    from sorbus.conflict.store import Choice, Conflict
    from sorbus.map.loaded import LoadedMap

app = typer.Typer(name="conflicts", help="Fields that people changed in a system that doesn't own them.")


class Which(StrEnum):
    """Which conflicts to show."""

    OPEN = "open"
    DECIDED = "decided"
    OVERWRITTEN = "overwritten"
    REWRITTEN = "rewritten"
    ALL = "all"


Number = Annotated[int, typer.Argument(metavar="NUMBER", help="The conflict's number in `sorbus conflicts list`.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the decision.")]
Who = Annotated[str, typer.Option("--by", envvar="SORBUS_USER", help="Who decides; else who is logged in.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON, one object a line.")]


@app.command("list")
def list_conflicts(
    ctx: typer.Context,
    which: Annotated[Which, typer.Option("--state", help="Which ones.")] = Which.OPEN,
    system: Annotated[str | None, typer.Option("--system", help="Only in this system.")] = None,
    data_type: Annotated[str | None, typer.Option("--data-type", help="Only of this data type.")] = None,
    most: Annotated[int, typer.Option("--most", min=1, help="Most conflicts to show, the newest first.")] = 100,
    before: Annotated[
        int | None, typer.Option("--before", help="Only those with smaller numbers: the next page.")
    ] = None,
    show_personal: ShowPersonal = False,
    as_json: Json = False,
) -> None:
    """List the conflicts that need a decision, newest first, and fields overwritten lately.

    Examples: sorbus conflicts list; sorbus conflicts list --state overwritten --system support --json
    """
    from sorbus.cli.show_personal import note_in_trail, note_shown
    from sorbus.conflict.store import Conflicts
    from sorbus.ops.conflicts.states import BY_VIEW
    from sorbus.state.database import State

    loaded = Context.of(ctx).load()
    conflicts = Conflicts(State.of(loaded.map.topic_prefix), system, data_type)
    found = conflicts.page(BY_VIEW[which.value], before=before, most=most)
    if show_personal:
        note_shown("conflicts list", records=", ".join(f"{each.data_type} {each.id}" for each in found))
        note_in_trail(State.of(loaded.map.topic_prefix), "conflicts", "list")
    else:
        found = _masked(loaded, found)
    if as_json:
        for one in found:
            typer.echo(json.dumps(as_object(one), ensure_ascii=False, default=str))
        return
    if not found:
        typer.echo("No open conflicts." if which is Which.OPEN else f"No {which.value} conflicts.")
    else:
        _table(found)
    if which is Which.OPEN:
        for place in conflicts.places():
            times = f"{place.times:,} time{'s' * (place.times != 1)}"
            typer.echo(f"{place.data_type}.{place.field} in {place.system} was overwritten {times} within seven days")


def _table(found: list[Conflict]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from sorbus.identity.crosswalk import place

    table = Table(
        "Number", "Record", "In", "Field", "Last sent", "Value there", "Owner's value", "State", box=box.SIMPLE
    )
    for one in found:
        values = [_text(value) for value in (one.sent, one.theirs, one.ours)]
        where = f"{place(one.system, one.resource)} {one.external_id}"
        table.add_row(
            str(one.number), escaped(f"{one.data_type} {one.id}"), escaped(where), one.field, *values, one.state
        )
    Console().print(table)
    typer.echo("Details: sorbus conflicts show NUMBER; decide: overwrite NUMBER, or keep NUMBER")


@app.command()
def show(ctx: typer.Context, number: Number, show_personal: ShowPersonal = False, as_json: Json = False) -> None:
    """Show one conflict: what was sent last, what the target has, what the owner has, and what was decided.

    Examples: sorbus conflicts show 12; sorbus conflicts show 12 --show-personal
    """
    from sorbus.cli.show_personal import note_in_trail, note_shown
    from sorbus.conflict.store import Conflicts
    from sorbus.ops.conflicts.states import DESCRIPTIONS
    from sorbus.state.database import State

    loaded = Context.of(ctx).load()
    found = Conflicts(State.of(loaded.map.topic_prefix)).get(number)
    if show_personal:
        note_shown("conflicts show", record=f"{found.data_type} {found.id}", conflict=str(number))
        note_in_trail(State.of(loaded.map.topic_prefix), "conflict", str(number), found.data_type, found.id)
    else:
        (found,) = _masked(loaded, [found])
    if as_json:
        typer.echo(json.dumps(as_object(found), ensure_ascii=False, default=str))
        return
    from sorbus.ops.conflicts.side_by_side import two_way_of

    owner = loaded.map.owner_of(found.data_type) if found.data_type in loaded.map.data_types else "its owner"
    if two_way_of(loaded, found) is not None:
        owner = "the record"
    of = f"{found.data_type} {found.id}, {found.external_id} in {found.system}"
    typer.echo(f"{found.number}: {found.field} of {escaped(of)}")
    for who, value in (("sent last", found.sent), (f"{found.system} has", found.theirs), (f"{owner} has", found.ours)):
        typer.echo(f"  {who}: {_text(value)}")
    typer.echo(f"  found {found.found_at.astimezone():%Y-%m-%d %H:%M}; {DESCRIPTIONS[found.state]}")
    if found.in_turn_with:
        typer.echo(
            f"  {found.system} and {found.in_turn_with} changed it in turn, without an end: stop what writes back"
        )
    if found.decided_by and found.decided_at:
        by = escaped(f"{found.decided_by}: {found.reason}" if found.reason else found.decided_by)
        typer.echo(f"  decided {found.decided_at.astimezone():%Y-%m-%d %H:%M} by {by}")


@app.command()
def overwrite(
    ctx: typer.Context, number: Number, reason: Reason = "", who: Who = "", yes: Yes = False, as_json: Json = False
) -> None:
    """Overwrite the value in the target with the owner's value, at once; in a two-way flow with the record's.

    Example: sorbus conflicts overwrite 12 --reason "moved last week"
    """
    _decide(ctx, number, "overwrite", reason=reason, who=who, yes=yes, as_json=as_json)


@app.command()
def keep(
    ctx: typer.Context, number: Number, reason: Reason = "", who: Who = "", yes: Yes = False, as_json: Json = False
) -> None:
    """Keep the value in the target until the owner changes that field again; in a two-way flow it becomes all systems'.

    Example: sorbus conflicts keep 12 --reason "support knows it better"
    """
    _decide(ctx, number, "keep", reason=reason, who=who, yes=yes, as_json=as_json)


@app.command()
def compare(ctx: typer.Context, number: Number, reason: Reason = "", who: Who = "") -> None:
    """Compare a field again that the application used to reformat.

    Example: sorbus conflicts compare 12 --reason "the mapping writes it in capitals now"
    """
    from sorbus.cli.login import login_name
    from sorbus.conflict.store import Conflicts
    from sorbus.state.database import State

    loaded = Context.of(ctx).load()
    found = Conflicts(State.of(loaded.map.topic_prefix)).compare(number, who=who or login_name(), reason=reason)
    typer.echo(
        f"{found.field} of {found.data_type} in {found.system} is compared again, from each record's next change"
    )


def _decide(
    ctx: typer.Context, number: int, choice: Choice, *, reason: str, who: str, yes: bool, as_json: bool
) -> None:
    from sorbus.cli.login import login_name
    from sorbus.conflict.store import Conflicts
    from sorbus.ops.conflicts.resolver import ConflictResolver
    from sorbus.settings import Settings
    from sorbus.state.database import State

    loaded = Context.of(ctx).load()
    state = State.of(loaded.map.topic_prefix)
    found = Conflicts(state).get(number)
    field = escaped(f"{found.field} of {found.data_type} {found.id} in {found.system}")
    will = "be overwritten with its owner's value" if choice == "overwrite" else "stay until its owner changes it"
    is_merged = found.data_type in loaded.two_way and found.system in loaded.two_way[found.data_type].systems
    if is_merged:
        will = (
            "be overwritten with the record's value" if choice == "overwrite" else "become the record's in all systems"
        )
    if not yes:
        typer.confirm(f"{field} will {will}. Continue?", abort=True, err=True)
    done = ConflictResolver(loaded.map, Settings(), state).decide(
        number, choice, who=who or login_name(), reason=reason, shown=found.shown
    )
    if as_json:
        requeued = [letter.id for letter in done.letters]
        told = {"number": number, "decision": choice, "requeued": requeued, "left": [one.number for one in done.left]}
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    if done.left:
        others = ", ".join(f"{one.number} ({one.field})" for one in done.left)
        then = f"Its record is delivered once these are decided too: {others}."
    elif is_merged:
        then = "Its record is published within seconds."
    elif done.letters:
        then = "Its dead letter was requeued and is delivered now."
    else:
        then = "It has no open dead letter: the decision applies with its next change."
    typer.echo(f"{field} will {will}. {then}")


def _masked(loaded: LoadedMap, found: list[Conflict]) -> list[Conflict]:
    from sorbus.ops.conflicts.masking import ConflictMask

    return list(map(ConflictMask(loaded), found))


def _text(value: object) -> str:
    return "-" if value is None else escaped(value if isinstance(value, str) else json.dumps(value, default=str))


def as_object(one: Conflict) -> dict[str, object]:
    """A conflict for JSON: times as text."""
    from dataclasses import asdict

    times = {
        name: at.isoformat() if (at := getattr(one, name)) else None
        for name in ("found_at", "changed_at", "decided_at")
    }
    return {**asdict(one), **times}
