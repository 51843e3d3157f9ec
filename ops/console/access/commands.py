"""`sorbus console account`: who may log in to the console, where no proxy logs people in."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.cli.login import login_name

if TYPE_CHECKING:
    from sorbus.ops.console.access.accounts import Accounts

accounts_app = typer.Typer(help="Accounts of the console, where no proxy logs people in.", no_args_is_help=True)


class RoleName(StrEnum):
    """What an account can do."""

    viewer = "viewer"
    operator = "operator"
    admin = "admin"


Name = Annotated[str, typer.Argument(help="The account's name, as it appears in the audit trail.")]
RoleOption = Annotated[
    RoleName, typer.Option("--role", help="viewer reads, operator acts too, admin manages accounts too.")
]
PasswordFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Read the password from its first line; - is standard input.")
]


@accounts_app.command()
def add(ctx: typer.Context, name: Name, role: RoleOption, password_file: PasswordFile = None) -> None:
    """Add an account. Asks for the password.

    Example: sorbus console account add mara --role operator
    """
    from sorbus.ops.console.access.user import Role

    _accounts(ctx).add(name, Role[role.value], _password(password_file), login_name())
    typer.echo(f"{name} can log in as {role.value}")


@accounts_app.command("list")
def list_accounts(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="As JSON, one object a line.")] = False
) -> None:
    """Show who may log in.

    Example: sorbus console account list --json | jq .name
    """
    accounts = _accounts(ctx).all()
    if as_json:
        for one in accounts:
            told = {
                "name": one.name,
                "role": one.role.name,
                "disabled": one.is_disabled,
                "made_at": one.made_at.isoformat(),
                "login_at": one.login_at.isoformat() if one.login_at else None,
            }
            typer.echo(json.dumps(told, ensure_ascii=False))
        return
    if not accounts:
        typer.echo("No accounts yet: sorbus console account add NAME --role admin")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("Account", "Role", "", "Last login", box=box.SIMPLE)
    for one in accounts:
        login = one.login_at.astimezone().strftime("%Y-%m-%d %H:%M %Z") if one.login_at else "never"
        table.add_row(one.name, one.role.name, "disabled" if one.is_disabled else "", login)
    Console().print(table)


@accounts_app.command("role")
def change_role(ctx: typer.Context, name: Name, role: RoleOption) -> None:
    """Change an account's role, effective immediately.

    Example: sorbus console account role mara --role admin
    """
    from sorbus.ops.console.access.user import Role

    _accounts(ctx).set_role(name, Role[role.value], login_name())
    typer.echo(f"{name} is {role.value} now")


@accounts_app.command("password")
def change_password(ctx: typer.Context, name: Name, password_file: PasswordFile = None) -> None:
    """Set an account's password and end its sessions.

    Example: sorbus console account password mara
    """
    _accounts(ctx).set_password(name, _password(password_file), login_name())
    typer.echo(f"{name} has a new password and must log in again")


@accounts_app.command()
def disable(
    ctx: typer.Context,
    name: Name,
    undo: Annotated[bool, typer.Option("--undo", help="Enable it again.")] = False,
) -> None:
    """Disable an account and end its sessions.

    Example: sorbus console account disable mara
    """
    _accounts(ctx).disable(name, login_name(), undo=undo)
    typer.echo(f"{name} can log in again" if undo else f"{name} can no longer log in")


def _accounts(ctx: typer.Context) -> Accounts:
    from sorbus.ops.console.access.accounts import Accounts
    from sorbus.state import State, migrate

    state = State.of(Context.of(ctx).load().map.topic_prefix)
    migrate(state)
    return Accounts(state)


def _password(file: Path | None) -> str:
    if file is None:
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    try:
        text = typer.get_text_stream("stdin").readline() if str(file) == "-" else file.read_text("utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{file} can't be read: {error.strerror}", param_hint="--password-file") from error
    return text.split("\n", 1)[0].rstrip("\r")
