"""`sorbus two-way`: joining the systems of a two-way data type."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.cli.login import login_name

if TYPE_CHECKING:
    from sorbus.ops.two_way.join import JoinPlan

app = typer.Typer(name="two-way", help="Data types that several systems change: how their records are joined.")
_WORDS = {
    "taken": "its value is taken",
    "overruled": "its value is replaced",
    "asked": "a person decides",
    "refused": "its value can't be taken: a dead letter",
}


@app.callback()
def _group() -> None:
    pass


@app.command()
def join(
    ctx: typer.Context,
    data_type: Annotated[str, typer.Argument(help="A data type with two-way flows, such as customer.")],
    accept: Annotated[bool, typer.Option("--accept", help="Join them; without it, nothing is written.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Forget what was joined, and join what the systems show now.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before records are deleted (--again).")] = False,
    wait: Annotated[
        float, typer.Option("--wait", min=0, help="Most seconds to wait until all systems' records are published.")
    ] = 30.0,
    show_personal: Annotated[bool, typer.Option("--show-personal", help="Show values of personal fields.")] = False,
    who: Annotated[str, typer.Option("--by", envvar="SORBUS_USER", help="Who accepts; else who is logged in.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="The counts as JSON.")] = False,
) -> None:
    """Show how the records of a two-way data type's systems would be joined; --accept does it.

    Records are the same when they have the same id. Gaps are filled, and no value is replaced but as the rule of its
    field says. Nothing is delivered before the join is accepted. The producers of its systems must run: `sorbus up`.

    Example: sorbus two-way join customer
    Example: sorbus two-way join customer --accept
    """
    from rich.console import Console

    from sorbus.ops.two_way.accept import accept_join, gone
    from sorbus.ops.two_way.join import merge_options, plan_join
    from sorbus.ops.two_way.published import wait_until_published
    from sorbus.privacy.mask import PERSONAL
    from sorbus.settings import Settings

    loaded, settings = Context.of(ctx).load_sound(), Settings()
    merge_options(loaded, data_type)
    with Console(stderr=True).status("waiting until all systems' records are published") as status:
        wait_until_published(loaded, settings, data_type, wait)
        plan = plan_join(loaded, settings, data_type, lambda count: status.update(f"{count:,} proposals read"))
    fields = loaded.schema(data_type).fields
    hidden = frozenset(field.name for field in fields if PERSONAL in field.tags and not show_personal)
    typer.echo(json.dumps(_as_json(plan), indent=2) if as_json else _as_text(plan, hidden))
    if accept and again and (deleted := gone(loaded, settings, plan)) and not yes:
        what = f"{deleted:,} records that {plan.system_of_record} no longer has are deleted in all systems. Continue?"
        typer.confirm(what, abort=True, err=True)
    if accept:
        accept_join(loaded, settings, plan, who or login_name(), again=again)
        if not as_json:
            typer.echo(f"Accepted: the merge of {data_type} publishes from now on.")
    elif not as_json:
        typer.echo(f"Nothing is written. To join them: sorbus two-way join {data_type} --accept")


def _as_text(plan: JoinPlan, hidden: frozenset[str]) -> str:
    lines = [f"{plan.data_type}: {plan.records:,} records in {plan.system_of_record}, which decides which there are"]
    for system, one in plan.systems.items():
        lines.append(f"{system}: {one.records:,} records")
        lines.append(f"  {one.linked:,} have a counterpart, {one.equal:,} of them equal")
        lines.append(f"  {one.missing:,} are missing there and will be created")
        if one.unlinked:
            shown = ", ".join(one.unlinked_ids)
            lines.append(
                f"  {one.unlinked:,} have no counterpart (such as {shown}): dead letters an hour after the join"
                + (", but for those that deliveries match (match: in the map)" if one.is_matched else "")
            )
        for (name, verdict), times in sorted(one.fields.items(), key=lambda each: (each[0][0], each[0][1].value)):
            lines.append(f"  {name}: {times:,} differ; {_WORDS[verdict.value]}")
            for id, ruling in one.examples[name, verdict]:
                theirs, ours = ("…", "…") if name in hidden else (repr(ruling.theirs), repr(ruling.ours))
                lines.append(f"      {id}: {system} has {theirs}, the record will have {ours}")
    if plan.unread:
        lines.append(f"{plan.unread:,} messages can't be read: they become dead letters")
    return "\n".join(lines)


def _as_json(plan: JoinPlan) -> dict[str, object]:
    return {
        "data_type": plan.data_type,
        "system_of_record": plan.system_of_record,
        "records": plan.records,
        "unread": plan.unread,
        "systems": {
            system: {
                "records": one.records,
                "linked": one.linked,
                "equal": one.equal,
                "missing": one.missing,
                "unlinked": one.unlinked,
                "fields": [
                    {"field": name, "verdict": verdict.value, "count": times}
                    for (name, verdict), times in sorted(one.fields.items(), key=lambda each: each[0][0])
                ],
            }
            for system, one in plan.systems.items()
        },
    }
