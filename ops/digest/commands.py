"""`sorbus digest`: what needs attention, by owner, as text, HTML or mail."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context

if TYPE_CHECKING:
    from sorbus.map.contact import Contact
    from sorbus.map.loaded import LoadedMap
    from sorbus.mapfile.model import Map
    from sorbus.ops.digest.collect import Facts
    from sorbus.ops.digest.delivery import DigestDelivery
    from sorbus.settings import Settings

app = typer.Typer()


@app.command()
def digest(
    ctx: typer.Context,
    owner: Annotated[str | None, typer.Option("--owner", help="Only the digest of this person or team.")] = None,
    hours: Annotated[float, typer.Option("--hours", min=1, help="Period for new and closed, in hours.")] = 24,
    send: Annotated[bool, typer.Option("--send", help="Mail each owner with an address their digest.")] = False,
    to: Annotated[list[str] | None, typer.Option("--to", help="With --send: mail everything to this address.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write it to this file as HTML.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show what needs attention, and what was settled, since yesterday.

    Dead letters by cause, incomplete records, duplicates, conflicts, changed sources, lag, checklists. Owners are the
    people named in the map; --send mails those who have an address (`Finance <finance@example.com>`), through
    SORBUS_MAIL_SERVER. Nobody gets an empty digest. Daily: `sorbus watch --digest 08:00`, or cron.

    Examples: `sorbus digest`, `sorbus digest --owner Finance`, `sorbus digest --send --to ops@example.com`
    """
    from sorbus.errors import ExitCode
    from sorbus.ops.digest.delivery import DigestDelivery
    from sorbus.ops.digest.render import as_html, as_text
    from sorbus.settings import Settings
    from sorbus.state import State
    from sorbus.telemetry.logs import configure_logs

    configure_logs("digest", level="WARNING")
    loaded, settings = Context.of(ctx).load(), Settings()
    if send and owner:
        raise typer.BadParameter("--send mails every owner; leave out --owner")
    if to and not send:
        raise typer.BadParameter("--to requires --send")
    company, state = loaded.map, State.of(loaded.map.topic_prefix)
    contact = _contact(company, owner) if owner else None
    delivery = DigestDelivery(company, settings, state, tuple(to or ()))
    facts = _gather(delivery, loaded, settings, hours)
    if send:
        sent = delivery.send(facts)
        for one in sent:
            typer.echo(f"{one.address}: {one.why or f'sent, {one.digest.grave} needing action'}")
        if any(one.why and one.digest.sections for one in sent):
            raise typer.Exit(ExitCode.FINDINGS)
        return
    made = delivery.of(facts, contact)
    if html is not None:
        html.write_text(as_html(made, company.company, settings.console_url), "utf-8")
        typer.echo(f"written: {html}", err=True)
    elif as_json:
        sections = [asdict(section) for section in made.sections]
        whose = {"owner": contact.name if contact else None, "systems": made.systems}
        times = {"since": made.since.isoformat(), "until": made.until.isoformat()}
        typer.echo(json.dumps({**whose, **times, "to_look_at": made.grave, "sections": sections}, ensure_ascii=False))
    else:
        typer.echo(as_text(made, company.company, settings.console_url), nl=False)


def _contact(company: Map, owner: str) -> Contact:
    from sorbus.errors import UsageError
    from sorbus.ops.digest.recipient import Recipients
    from sorbus.spelling import closest

    known = Recipients(company).contacts()
    found = next((each for each in known if owner in (each.name, each.address)), None)
    if found is None:
        raise UsageError(f"the map names no owner {owner!r}; {closest(owner, [each.name for each in known])}")
    return found


def _gather(delivery: DigestDelivery, loaded: LoadedMap, settings: Settings, hours: float) -> Facts:
    from datetime import UTC, datetime, timedelta

    from sorbus.ops.decisions.registry import DECISION_KINDS
    from sorbus.ops.monitoring.build_monitor import open_watch

    watch = open_watch(loaded, settings, DECISION_KINDS)
    try:
        measured = watch.measure()
    finally:
        watch.close()
    now = datetime.now(UTC)
    return delivery.gather(measured, now - timedelta(hours=hours), now)
