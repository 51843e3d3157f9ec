"""`sorbus alerts`: who gets which alerts, as a configuration for Alertmanager."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sorbus.cli.context import Context

app = typer.Typer()

MARK = "# Written by `sorbus alerts` from the map. Don't edit: change the map or the options, and run it again."
CONFIG, TEMPLATES = "alertmanager.yml", "sorbus.tmpl"


@app.command()
def alerts(
    ctx: typer.Context,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder that Alertmanager reads.")],
    mail_server: Annotated[
        str, typer.Option(envvar="SORBUS_MAIL_SERVER", metavar="HOST:PORT", help="SMTP server.")
    ] = "",
    mail_from: Annotated[str, typer.Option(envvar="SORBUS_MAIL_FROM", help="From address.")] = "",
    mail_user: Annotated[str, typer.Option(envvar="SORBUS_MAIL_USER", help="SMTP user.")] = "",
    mail_password_file: Annotated[
        str,
        typer.Option(
            envvar="SORBUS_MAIL_PASSWORD_FILE", help="File holding the SMTP password, on Alertmanager's machine."
        ),
    ] = "",
    mail_tls: Annotated[bool, typer.Option("--mail-tls/--no-mail-tls", help="Require TLS.")] = True,
    to: Annotated[list[str] | None, typer.Option("--to", help="Address that gets all alerts.")] = None,
    slack_url_file: Annotated[str, typer.Option(help="File holding the Slack webhook URL.")] = "",
    slack_channel: Annotated[str, typer.Option(help="Slack channel, such as #data.")] = "",
    webhook: Annotated[list[str] | None, typer.Option("--webhook", help="URL that gets all alerts as JSON.")] = None,
    webhook_token_file: Annotated[str, typer.Option(help="File holding the webhook's bearer token.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file not written by this command.")] = False,
) -> None:
    """Write Alertmanager's configuration: mail each owner alerts about their systems; operators get all.

    Addresses come from the map: `owner: Finance <finance@example.com>`, `escalate_to:`, `responsible:`. Passwords and
    tokens stay in files that Alertmanager reads itself. Run it again when the people in the map change.

    Examples: `sorbus alerts -o ops/alertmanager --mail-server smtp.example.com:587 --mail-from sorbus@example.com
    --to ops@example.com`, `sorbus alerts -o /etc/alertmanager --slack-url-file /run/secrets/slack`
    """
    from ruamel.yaml import YAML

    from sorbus.errors import ExitCode, SorbusError
    from sorbus.ops.alerts.routes import Ways, configuration, shares, shipped, unreachable

    if mail_server and not mail_from:
        raise typer.BadParameter("set the From address: --mail-from sorbus@example.com")
    if mail_user and not mail_password_file:
        raise typer.BadParameter("name the file with the password of --mail-user: --mail-password-file PATH")
    if to and not mail_server:
        raise typer.BadParameter("--to needs a mail server: --mail-server HOST:PORT")
    company = Context.of(ctx).load_sound().map
    ways = Ways(
        mail_server,
        mail_from,
        mail_user,
        mail_password_file,
        mail_tls,
        tuple(to or ()),
        slack_url_file,
        slack_channel,
        tuple(webhook or ()),
        webhook_token_file,
    )
    file = output / CONFIG
    if file.is_file() and not file.read_text("utf-8").startswith(MARK) and not force:
        raise SorbusError(
            f"{file} was not written by `sorbus alerts`; use --force to overwrite it, or another --output"
        )
    output.mkdir(parents=True, exist_ok=True)
    writer = YAML()
    writer.default_flow_style, writer.width = False, 200
    writer.representer.ignore_aliases = lambda _: True
    with file.open("w", encoding="utf-8") as out:
        out.write(f"{MARK}\n")
        writer.dump(configuration(company, ways), out)
    (output / TEMPLATES).write_text(shipped(TEMPLATES), "utf-8")
    typer.echo(f"written: {file}, {output / TEMPLATES}", err=True)
    if ways.mail_server:
        for share in shares(company):
            typer.echo(f"{share.contact} gets {'; '.join(' and '.join(each) for each in share.matchers)}")
        for name in unreachable(company):
            typer.echo(f"{name} has no address in the map and gets no mail", err=True)
    if not (ways.to or ways.slack_url_file or ways.webhooks):
        typer.echo("No receiver gets all alerts: set --to, --slack-url-file or --webhook.", err=True)
        raise typer.Exit(ExitCode.FINDINGS)
