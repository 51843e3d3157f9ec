"""`sorbus console`: the web console, where people monitor flows and fix problems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.ops.console.access.commands import accounts_app
from sorbus.telemetry.options import LOOPBACK, MetricsHost, MetricsPort

if TYPE_CHECKING:
    from sorbus.ops.console.access.user import Role

app = typer.Typer()
console_app = typer.Typer(invoke_without_command=True)
console_app.add_typer(accounts_app, name="account")
app.add_typer(console_app, name="console")


@console_app.callback()
def console(
    ctx: typer.Context,
    port: Annotated[
        int, typer.Option(envvar="SORBUS_CONSOLE_PORT", help="Where to serve; 0 takes a free port.")
    ] = 9490,
    host: Annotated[
        str, typer.Option(envvar="SORBUS_CONSOLE_HOST", help="The address to listen on; 0.0.0.0 in a container.")
    ] = LOOPBACK,
    url: Annotated[
        str,
        typer.Option(envvar="SORBUS_CONSOLE_URL", help="Its public address, such as https://sorbus.example.com."),
    ] = "",
    login: Annotated[bool, typer.Option("--login", help="Require a login on the loopback address too.")] = False,
    trust_proxy: Annotated[
        list[str],
        typer.Option(metavar="ADDRESS", help="A proxy whose X-Forwarded headers are believed; may be repeated."),
    ] = [],  # noqa: B006  # typer reads it, nobody changes it
    proxy_role: Annotated[
        list[str],
        typer.Option(metavar="GROUP=ROLE", help="The role of a group that the proxy reports; * is every group."),
    ] = [],  # noqa: B006
    interval: Annotated[float, typer.Option(min=0.5, help="Seconds between two measurements.")] = 3.0,
    metrics_port: MetricsPort = 0,
    metrics_host: MetricsHost = LOOPBACK,
) -> None:
    """Serve the web console, where people monitor flows and fix problems, until stopped.

    On the loopback address no login is needed: behind a proxy or tunnel, or where several people share the
    machine, add --login. On other addresses people log in: with accounts
    (`sorbus console account add`), or at a proxy. Roles: viewer (reads, personal values masked),
    operator (acts), admin (accounts too).

    Examples: `sorbus console`,
    `sorbus console --host 0.0.0.0 --url https://sorbus.example.com`,
    `sorbus console --host 0.0.0.0 --url https://sorbus.example.com --trust-proxy 10.0.0.7 --proxy-role ops=operator`
    """
    if ctx.invoked_subcommand is not None:
        return
    from sorbus.ops.console.access.auth_config import AuthConfig
    from sorbus.ops.console.serve import serve_console

    serve_console(
        Context.of(ctx).load_sound(),
        AuthConfig(url, login, trust_proxy, dict(map(_role_of_group, proxy_role))),
        host,
        port,
        interval=interval,
        metrics_host=metrics_host,
        metrics_port=metrics_port,
    )


def _role_of_group(text: str) -> tuple[str, Role]:
    from sorbus.ops.console.access.user import Role

    group, _, role = text.rpartition("=")
    if not group or role not in Role.__members__:
        raise typer.BadParameter(
            f"{text!r} is not GROUP=ROLE with viewer, operator or admin", param_hint="--proxy-role"
        )
    return group, Role[role]
