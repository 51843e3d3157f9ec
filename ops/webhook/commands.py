"""`sorbus webhook`: secrets, test events, and what was posted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.errors import ExitCode

if TYPE_CHECKING:
    from sorbus.connector import BoundFlow

app = typer.Typer(name="webhook", help="Webhooks: make a secret, post a test event, list what was posted.")

_KEY_BYTES = 32
Flow = Annotated[str, typer.Argument(help="A flow to a system of kind webhook, such as customer-to-n8n.")]


@app.command()
def secret() -> None:
    """Make a secret for signatures (Standard Webhooks), for both sides: `signing_secret` or `webhook_secret`.

    To replace one: write the new and the old one, separated by a comma, give the receiver the new one, then remove the
    old one. A secret in an address (`verify: {signature: shared-secret}`) is the part after whsec_, without +, / and =.

    Example: sorbus webhook secret
    """
    import base64
    import secrets

    typer.echo(f"whsec_{base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()}")


@app.command("test")
def post_test_event(
    ctx: typer.Context,
    flow: Flow,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print body and headers; post nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The answer as JSON.")] = False,
) -> None:
    """Post a test event, of type sorbus.test and signed like a change, and print the answer. No record is touched.

    Exit code 1: the endpoint doesn't accept it; 3: nothing answers.

    Examples: sorbus webhook test customer-to-n8n; sorbus webhook test customer-to-n8n --dry-run
    """
    from datetime import UTC, datetime

    from sorbus.webhook.endpoint import Verdict, WebhookClient
    from sorbus.webhook.message import test_message
    from sorbus.webhook.options import WebhookTarget

    bound = _bound(ctx, flow)
    options, connection = bound.options, bound.system.connection
    assert isinstance(options, WebhookTarget)
    at = datetime.now(UTC)
    message = test_message(flow, bound.flow.data_type, dict.fromkeys(_fields(bound, options.resource)), at)
    client = WebhookClient(connection, options.path, timeout=options.timeout.total_seconds(), concurrency=1)  # type: ignore[arg-type]
    try:
        if dry_run:
            hidden = {name.lower() for name in client.hidden_headers}
            for name, value in client.headers(message, at).items():
                typer.echo(f"{name}: {'***' if name.lower() in hidden else value}")
            typer.echo(f"\n{message.body.decode()}")
            return
        answer = client.post(message)
    finally:
        client.close()
    is_accepted = answer.verdict is Verdict.ACCEPTED
    if as_json:
        told = {"accepted": is_accepted, "status": answer.status, "seconds": round(answer.seconds, 3)}
        typer.echo(json.dumps({**told, "webhook_id": message.id, "words": answer.words}, ensure_ascii=False))
    else:
        typer.echo(f"{answer.words}, after {1000 * answer.seconds:.0f} ms; webhook-id {message.id}")
    if not is_accepted:
        raise typer.Exit(ExitCode.UNREACHABLE if answer.status is None else ExitCode.FINDINGS)


@app.command()
def attempts(
    ctx: typer.Context,
    flow: Flow,
    id: Annotated[str, typer.Option("--id", help="Only this record's.")] = "",
    failed: Annotated[bool, typer.Option("--failed", help="Only those that were not accepted.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many, the newest first.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, one object a line.")] = False,
) -> None:
    """List what was posted in the last 30 days: when, which record and version, the answer's status, how long it took.

    To post again: `sorbus replay FLOW --id ID`, or `--from TIME`.

    Examples: sorbus webhook attempts customer-to-n8n --failed; sorbus webhook attempts customer-to-n8n --id 4711
    """
    from sorbus.ops.webhook.posted import posted
    from sorbus.state.database import State

    company = Context.of(ctx).load_sound().map
    _bound(ctx, flow)
    found = posted(State.of(company.topic_prefix), flow, id=id, failed=failed, limit=limit)
    if as_json:
        for one in found:
            typer.echo(json.dumps({**one._asdict(), "at": one.at.isoformat()}, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("at", "record", "version", "answer", "outcome", "ms", "webhook-id", box=None, header_style="bold")
    for one in found:
        at, status = f"{one.at.astimezone():%Y-%m-%d %H:%M:%S}", "none" if one.status is None else str(one.status)
        table.add_row(at, one.id, str(one.version), status, one.outcome, f"{1000 * one.seconds:.0f}", one.message)
    Console(soft_wrap=True).print(
        table
        if found
        else f"{flow}: {'nothing like that' if id or failed else 'nothing'} was posted in the last 30 days"
    )


def _bound(ctx: typer.Context, flow: str) -> BoundFlow:
    """The flow. UsageError where it isn't one to a webhook."""
    from sorbus.errors import UsageError
    from sorbus.webhook.connection import WebhookConnection

    bound = Context.of(ctx).load_sound().flow(flow)
    if not isinstance(bound.system.connection, WebhookConnection):
        raise UsageError(f"{flow} goes to {bound.system.name}, of kind {bound.system.system.kind}: not to a webhook")
    return bound


def _fields(bound: BoundFlow, resource: str) -> list[str]:
    from sorbus.mapping.assign import assign_target

    parts = assign_target(
        bound.mapping, bound.system.name, bound.flow.data_type, bound.schema, {"": resource}, bound.lookups
    )
    return [one.into for one in parts[""]]
