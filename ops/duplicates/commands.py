"""`sorbus duplicates`: records that may already exist in a system; a person decides to link or create."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.cli.show_personal import ShowPersonal
from sorbus.control_characters import escaped
from sorbus.ops.duplicates.merge_commands import app as merging
from sorbus.ops.duplicates.options import Json, Number, Reason, Who, Yes

if TYPE_CHECKING:
    from sorbus.identity.candidates import Decision, DuplicateCandidate
    from sorbus.map.loaded import LoadedMap
    from sorbus.ops.duplicates.resolver import DuplicateResolver

app = typer.Typer(name="duplicates", help="Records that may already exist in a system and need a decision.")
app.add_typer(merging)


@app.command("list")
def list_candidates(
    ctx: typer.Context,
    system: Annotated[str | None, typer.Option("--system", help="Only this system's.")] = None,
    data_type: Annotated[str | None, typer.Option("--data-type", help="Only this data type's.")] = None,
    show_personal: ShowPersonal = False,
    as_json: Json = False,
) -> None:
    """List the records that need a decision, oldest first.

    Examples: sorbus duplicates list; sorbus duplicates list --system accounting --json | jq .number
    """
    from sorbus.cli.show_personal import note_in_trail, note_shown
    from sorbus.identity.candidates import Candidates
    from sorbus.ops.duplicates.masking import masked_candidate
    from sorbus.state.database import State

    loaded = Context.of(ctx).load()
    _check(loaded, system, data_type)
    found = Candidates(State.of(loaded.map.topic_prefix), system, data_type).open()
    if show_personal:
        note_shown("duplicates list", records=", ".join(f"{each.data_type} {each.id}" for each in found))
        note_in_trail(State.of(loaded.map.topic_prefix), "duplicates", "list")
    else:
        found = [masked_candidate(loaded, each) for each in found]
    if as_json:
        for candidate in found:
            typer.echo(json.dumps(_as_json(candidate), ensure_ascii=False))
        return
    if not found:
        typer.echo("No possible duplicates.")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("ID", "Record", "In", "Possible matches", "Why", "Since", box=box.SIMPLE)
    for candidate in found:
        table.add_row(
            str(candidate.number),
            escaped(f"{candidate.data_type} {candidate.id}"),
            candidate.place,
            escaped(", ".join(f"{doubt.external_id} ({doubt.score})" for doubt in candidate.doubts[:3])),
            escaped(
                "; ".join((candidate.why, *(reason for doubt in candidate.doubts[:1] for reason in doubt.reasons)))
            ),
            candidate.found_at.astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        )
    Console().print(table)
    typer.echo(f"{len(found)} open. Details: sorbus duplicates show ID; decide: link ID EXTERNAL_ID, or create ID")


@app.command()
def show(ctx: typer.Context, number: Number, show_personal: ShowPersonal = False, as_json: Json = False) -> None:
    """Show one record beside its possible matches, with the reasons and the decisions; personal values masked.

    Examples: sorbus duplicates show 12; sorbus duplicates show 12 --show-personal
    """
    from sorbus.cli.show_personal import note_in_trail, note_shown
    from sorbus.identity.candidates import Candidates
    from sorbus.ops.duplicates.masking import masked_candidate
    from sorbus.state.database import State

    loaded = Context.of(ctx).load()
    candidate = _resolver(loaded).candidate(number)
    if show_personal:
        note_shown("duplicates show", record=f"{candidate.data_type} {candidate.id}", candidate=str(number))
        state = State.of(loaded.map.topic_prefix)
        note_in_trail(state, "duplicate", str(number), candidate.data_type, candidate.id)
    else:
        candidate = masked_candidate(loaded, candidate)
    audit = Candidates(State.of(loaded.map.topic_prefix)).audit(number)
    if as_json:
        entries = [{**entry._asdict(), "at": entry.at.isoformat()} for entry in audit]
        typer.echo(json.dumps({**_as_json(candidate), "decisions": entries}, ensure_ascii=False))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    columns = [escaped(f"{doubt.external_id} ({doubt.score})") for doubt in candidate.doubts]
    table = Table("", escaped(f"{candidate.data_type} {candidate.id}"), *columns, box=box.SIMPLE)
    names = dict.fromkeys([*candidate.fields, *(name for doubt in candidate.doubts for name in doubt.fields)])
    for name in names:
        values = [candidate.fields.get(name, ""), *(doubt.fields.get(name, "") for doubt in candidate.doubts)]
        table.add_row(escaped(name.replace("_", " ")), *map(escaped, values))
    typer.echo(
        escaped(f"{candidate.number}: {candidate.data_type} {candidate.id} in {candidate.place}: {candidate.why}")
    )
    Console().print(table)
    for doubt in candidate.doubts:
        typer.echo(escaped(f"{doubt.external_id}: {'; '.join(doubt.reasons)}"))
    for entry in audit:
        what = f"{entry.what} {entry.external_id or ''}".strip()
        why = entry.reason and f" ({entry.reason})"
        typer.echo(f"{entry.at.astimezone():%Y-%m-%d %H:%M} {escaped(f'{entry.who}: {what}{why}')}")
    if candidate.state == "done":
        typer.echo("Done: the record is linked in the crosswalk.")


@app.command()
def link(
    ctx: typer.Context,
    number: Number,
    external_id: Annotated[str, typer.Argument(help="The matching record in the system.")],
    reason: Reason = "",
    who: Who = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Link it to this record of the system; it is delivered at once, as an update of that record.

    Example: sorbus duplicates link 12 0d3f-88 --reason "same person, new address"
    """
    from sorbus.identity.candidates import Decision

    _decide(ctx, number, Decision("link", external_id), reason=reason, who=who, yes=yes, as_json=as_json)


@app.command()
def create(
    ctx: typer.Context, number: Number, reason: Reason = "", who: Who = "", yes: Yes = False, as_json: Json = False
) -> None:
    """Create a new record at once: it is none of the matches, and these pairs are never asked about again.

    Example: sorbus duplicates create 12 --reason "the brother" --yes
    """
    from sorbus.identity.candidates import Decision

    _decide(ctx, number, Decision("create", None), reason=reason, who=who, yes=yes, as_json=as_json)


def _decide(
    ctx: typer.Context, number: int, decision: Decision, *, reason: str, who: str, yes: bool, as_json: bool
) -> None:
    from sorbus.cli.login import login_name

    resolver = _resolver(Context.of(ctx).load())
    candidate = resolver.candidate(number)
    record = f"{candidate.data_type} {candidate.id}"
    will = (
        f"be linked to {decision.external_id} in {candidate.place}, and update it"
        if decision.external_id is not None
        else f"be created in {candidate.place}"
    )
    if warning := resolver.warning(candidate, decision):
        typer.echo(escaped(f"Careful: {warning}."), err=True)
    if not yes:
        typer.confirm(escaped(f"{record} will {will}. Continue?"), abort=True, err=True)
    letters = resolver.decide(number, decision, who=who or login_name(), reason=reason)
    if as_json:
        decided = {"number": number, "decision": decision.choice, "external_id": decision.external_id}
        typer.echo(json.dumps({**decided, "requeued": [letter.id for letter in letters]}, ensure_ascii=False))
        return
    flows = ", ".join(sorted({letter.flow for letter in letters}))
    when = f"Its dead letter was requeued to {flows}, which delivers it now."
    never = "It has no open dead letter: the decision applies with its next change."
    typer.echo(escaped(f"{record} will {will}.") + f" {when if letters else never}")


def _resolver(loaded: LoadedMap) -> DuplicateResolver:
    from sorbus.ops.duplicates.resolver import DuplicateResolver
    from sorbus.settings import Settings
    from sorbus.state.database import State

    return DuplicateResolver(loaded.map, Settings(), State.of(loaded.map.topic_prefix))


def _check(loaded: LoadedMap, system: str | None, data_type: str | None) -> None:
    from sorbus.errors import UsageError

    if system is not None and system not in loaded.map.systems:
        raise UsageError(f"the map has no system {system!r}: {', '.join(loaded.map.systems)}")
    if data_type is not None and data_type not in loaded.map.data_types:
        raise UsageError(f"the map has no data type {data_type!r}: {', '.join(loaded.map.data_types)}")


def _as_json(candidate: DuplicateCandidate) -> dict[str, object]:
    decision = candidate.decision
    return {
        "number": candidate.number,
        "system": candidate.system,
        "resource": candidate.resource,
        "data_type": candidate.data_type,
        "id": candidate.id,
        "version": candidate.version,
        "why": candidate.why,
        "fields": dict(candidate.fields),
        "candidates": [
            {
                "external_id": doubt.external_id,
                "score": doubt.score,
                "reasons": list(doubt.reasons),
                "fields": dict(doubt.fields),
            }
            for doubt in candidate.doubts
        ],
        "state": candidate.state,
        "decision": decision.choice if decision else None,
        "decided_for": decision.external_id if decision else None,
        "decided_by": candidate.decided_by,
        "reason": candidate.reason,
        "found_at": candidate.found_at.isoformat(),
    }
