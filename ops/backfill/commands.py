"""`sorbus backfill`: publish a data type's records again while the source's changes keep coming."""

from __future__ import annotations

import json
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
    pause: Annotated[bool, typer.Option("--pause", help="Pause the snapshot under way.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Resume it where it was.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Give it up; what was published stays.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Say how far it is, and change nothing.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be published.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The status as JSON.")] = False,
    who: Annotated[str, typer.Option("--by", envvar="SORBUS_USER", help="Who asks; else who is logged in.")] = "",
) -> None:
    """Publish every record of a data type again, or some, beside the stream; the producer must be running.

    Records are read in small chunks when the stream has nothing; other data types' changes don't wait. A restart
    resumes where it stopped. At its end, records that the source no longer has are deleted.

    Examples: sorbus backfill customer; sorbus backfill customer --id 17 --id 18; sorbus backfill customer --status
    """
    from sorbus.audit import AuditTrail
    from sorbus.bus.kafka import idempotent_producer
    from sorbus.bus.names import Names
    from sorbus.bus.positions import read_positions
    from sorbus.bus.requests import backfill_message, reread_message
    from sorbus.bus.sending import send
    from sorbus.drift.watch import has_state
    from sorbus.errors import UsageError
    from sorbus.settings import Settings
    from sorbus.snapshot_control import SnapshotAction, SupportsBackfill
    from sorbus.state.database import State

    chosen = [name for name, is_chosen in (("pause", pause), ("resume", resume), ("cancel", cancel)) if is_chosen]
    if len(chosen) + bool(ids) + status > 1:
        raise UsageError("choose one of --id, --pause, --resume, --cancel and --status")
    loaded, settings = Context.of(ctx).load_sound(), Settings()
    if data_type not in loaded.map.data_types:
        raise UsageError(f"the map has no data type {data_type!r}: {', '.join(loaded.map.data_types)}")
    names, owner = Names(loaded.map.topic_prefix), loaded.map.owner_of(data_type)
    connector = loaded.producer(owner)
    if not isinstance(connector, SupportsBackfill):
        raise UsageError(f"{owner} (kind {loaded.map.systems[owner].kind}) reads all its records by its own schedule")
    if status:
        position = read_positions(settings, names).get(owner)
        found = None if position is None else connector.snapshot_status(position)
        is_its = found is not None and found.data_type == data_type
        if as_json:
            typer.echo(json.dumps(found._asdict() if found is not None and is_its else None))
        elif found is not None and is_its:
            typer.echo(f"{data_type}: {found.records:,} records published{', paused' if found.is_paused else ''}")
        else:
            typer.echo(f"{data_type}: no snapshot under way" + (f"; {found.data_type} is being read" if found else ""))
        return
    if dry_run:
        what = f"{len(ids):,} records" if ids else "every record"
        typer.echo(f"{what} of {data_type} in {owner} would be published again, to every flow of the data type")
        return
    action: SnapshotAction = "pause" if pause else "resume" if resume else "cancel" if cancel else "start"
    encoded = [id.encode("utf-8", "surrogateescape") for id in ids or ()]
    messages = [reread_message(names, owner, data_type, id) for id in encoded]
    messages = messages or [backfill_message(names, owner, data_type, action)]
    send(idempotent_producer(settings, f"backfill-{data_type}"), messages, f"asking the producer of {owner}")
    if has_state(settings):
        details = {"records": len(encoded)} if encoded else {"action": action}
        AuditTrail(State.of(loaded.map.topic_prefix)).note(
            who or login_name(), "backfill", "data type", data_type, data_type=data_type, details=details
        )
    typer.echo(f"the producer of {owner} is asked; see sorbus backfill {data_type} --status")
