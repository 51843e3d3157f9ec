"""`sorbus backfill`: publish a data type's records again while the source's changes keep coming."""

from __future__ import annotations

from typing import Annotated

import typer

from sorbus.cli.context import Context
from sorbus.cli.login import login_name

app = typer.Typer()


@app.command()
def backfill(
    ctx: typer.Context,
    data_type: Annotated[str, typer.Argument(metavar="TYPE", help="The data type.")],
    ids: Annotated[list[str] | None, typer.Option("--id", help="Only this record; may be repeated.")] = None,
    where: Annotated[str, typer.Option("--where", help="Only records that fit, e.g. 'country == \"DE\"'.")] = "",
    pause: Annotated[
        bool, typer.Option("--pause", help="Pause its snapshots; those of others are read meanwhile.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Resume them where they were.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Give them up; what was published stays.")] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Say what is read, waits and has ended; change nothing.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be published.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The status as JSON.")] = False,
    who: Annotated[str, typer.Option("--by", envvar="SORBUS_USER", help="Who asks; else who is logged in.")] = "",
) -> None:
    """Publish every record of a data type again, or some, beside the stream; the producer must be running.

    Records are read while other changes are published; those hardly wait. A restart resumes where it stopped. At the
    end of a whole snapshot, records that the source no longer has are deleted. Records for which a condition gives an
    error are left out: the status counts them and shows the first, the producer's log has more.

    What a process step makes is made again: all of it, or --id; with `begin: now`, that id also counts as new.

    Examples: sorbus backfill customer; sorbus backfill customer --id 17 --id 18; sorbus backfill customer --where
    'country == "DE"'; sorbus backfill customer --status
    """
    from sorbus.audit import AuditTrail
    from sorbus.bus.kafka import idempotent_producer
    from sorbus.bus.names import Names
    from sorbus.bus.requests import backfill_message, reread_message
    from sorbus.bus.sending import send
    from sorbus.bus.status import require_running
    from sorbus.drift.watch import has_state
    from sorbus.errors import UsageError
    from sorbus.map.steps import step_of
    from sorbus.mapping.errors import RuleError
    from sorbus.mapping.record_condition import RecordCondition
    from sorbus.ops.backfill.status import show_status
    from sorbus.settings import Settings
    from sorbus.snapshot_control import SnapshotAction, SupportsBackfill
    from sorbus.state.database import State

    chosen = [name for name, is_chosen in (("pause", pause), ("resume", resume), ("cancel", cancel)) if is_chosen]
    if len(chosen) + bool(ids) + bool(where) + status > 1:
        raise UsageError("choose one of --id, --where, --pause, --resume, --cancel and --status")
    loaded, settings = Context.of(ctx).load_sound(), Settings()
    if data_type not in loaded.map.data_types:
        raise UsageError(f"the map has no data type {data_type!r}: {', '.join(loaded.map.data_types)}")
    names, owner = Names(loaded.map.topic_prefix), loaded.map.owner_of(data_type)
    connector = loaded.producer(owner)
    is_step = step_of(loaded.map, owner) is not None
    if is_step and (where or status or pause or resume or cancel):
        raise UsageError(f"the step {owner} makes all records of {data_type} again, or those that --id names")
    if not isinstance(connector, SupportsBackfill) and not is_step:
        raise UsageError(f"{owner} (kind {loaded.map.systems[owner].kind}) reads all its records by its own schedule")
    if where:
        source = next(each for each in loaded.sources(owner) if each.name == data_type)
        try:
            RecordCondition(where, source.schema, source.lookups)
        except RuleError as error:
            raise UsageError(f"--where {where!r}: {error}") from None
    if status and isinstance(connector, SupportsBackfill):
        show_status(connector, settings, names, owner, [each.name for each in loaded.sources(owner)], as_json=as_json)
        return
    if dry_run:
        what = f"{len(ids):,} records" if ids else f"every record with {where}" if where else "every record"
        typer.echo(f"{what} of {data_type} in {owner} would be published again, to every flow of the data type")
        return
    action: SnapshotAction = "pause" if pause else "resume" if resume else "cancel" if cancel else "start"
    require_running(settings, names, f"produce {owner}")
    encoded = [id.encode("utf-8", "surrogateescape") for id in ids or ()]
    messages = [reread_message(names, owner, data_type, id) for id in encoded]
    messages = messages or [backfill_message(names, owner, data_type, action, where)]
    send(idempotent_producer(settings, f"backfill-{data_type}"), messages, f"asking the producer of {owner}")
    if has_state(settings):
        details = {"records": len(encoded)} if encoded else {"action": action, **({"where": where} if where else {})}
        AuditTrail(State.of(loaded.map.topic_prefix)).note(
            who or login_name(), "backfill", "data type", data_type, data_type=data_type, details=details
        )
    see = "" if is_step else f"; see sorbus backfill {data_type} --status"
    typer.echo(f"the producer of {owner} is asked{see}")
