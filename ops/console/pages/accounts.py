"""Local accounts: admins have them all, everybody their own password."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sorbus.errors import SorbusError
from sorbus.ops.console.access.accounts import Accounts
from sorbus.ops.console.access.attempts import Attempts
from sorbus.ops.console.access.passwords import LONGEST, SHORTEST
from sorbus.ops.console.access.user import Role
from sorbus.ops.console.page_context import (
    Console,
    Section,
    console_of,
    done,
    form_of,
    needs,
    person_of,
    refused,
    render,
)
from sorbus.ops.console.template_filters import span

section = Section("Accounts", "/accounts", role=Role.admin, is_there=lambda console: console.has_login)


@needs(Role.admin)
def show_all(request: Request) -> Response:
    """Who may log in, and as what."""
    accounts = _accounts(request).all()
    return render(request, "accounts.html", accounts=accounts, roles=list(Role), shortest=SHORTEST, longest=LONGEST)


@needs(Role.admin)
def add(request: Request) -> Response:
    """Makes an account with a first password."""
    form = form_of(request)
    name, password = str(form.get("name", "")).strip(), str(form.get("password", ""))
    who = person_of(request).name
    return _do(request, lambda: _accounts(request).add(name, _role(request), password, who), f"{name} can log in now.")


@needs(Role.admin)
def change(request: Request) -> Response:
    """Another role, another password, or whether a person may log in. Nobody can lock themselves out."""
    accounts, name, action = _accounts(request), request.path_params["name"], str(form_of(request).get("action", ""))
    who = person_of(request).name
    if name == who and action != "password":
        return refused(
            request, "/accounts", "You can't change your own role or disable your own account; ask another admin."
        )
    if action == "role":
        role = _role(request)
        return _do(request, lambda: accounts.set_role(name, role, who), f"{name} is {role.name} now.")
    if action == "password":
        password = str(form_of(request).get("password", ""))
        said = f"{name} has a new password and must log in again."
        return _do(request, lambda: accounts.set_password(name, password, who), said)
    if action in ("disable", "enable"):
        said = f"{name} can no longer log in." if action == "disable" else f"{name} can log in again."
        return _do(request, lambda: accounts.disable(name, who, undo=action == "enable"), said)
    raise HTTPException(HTTPStatus.BAD_REQUEST, "nothing was changed: the form names no action")


def show_own(request: Request) -> Response:
    """The form for one's own password."""
    _accounts(request)
    return render(request, "account.html", shortest=SHORTEST, longest=LONGEST)


def change_own(request: Request) -> Response:
    """One's own password, for a person who knows the old one; ends all sessions, this one too."""
    accounts, form, name = _accounts(request), form_of(request), person_of(request).name
    attempts = Attempts(console_of(request).state)
    if wait := attempts.admit_own(name):
        return refused(request, "/account", f"Too many attempts. Wait {span(wait)}, then try again.")
    if not accounts.is_password_of(name, str(form.get("old", ""))):
        return refused(request, "/account", "The old password is wrong; nothing was changed.")
    attempts.succeeded_own(name)
    if form.get("new") != form.get("again"):
        return refused(request, "/account", "The two new passwords differ; nothing was changed.")
    try:
        accounts.set_password(name, str(form.get("new", "")), name)
    except SorbusError as error:
        return refused(request, "/account", f"Nothing was changed: {error}.")
    return done(request, "/login", "Your password has been changed. Log in with the new one.")


def _do(request: Request, action: Callable[[], None], said: str) -> Response:
    try:
        action()
    except SorbusError as error:
        return refused(request, "/accounts", f"Nothing was changed: {error}.")
    return done(request, "/accounts", said)


def _role(request: Request) -> Role:
    role = str(form_of(request).get("role", ""))
    if role not in Role.__members__:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "nothing was changed: a role is viewer, operator or admin")
    return Role[role]


def _accounts(request: Request) -> Accounts:
    console: Console = console_of(request)
    if not console.has_login:
        raise HTTPException(HTTPStatus.NOT_FOUND, "this console has no accounts of its own")
    return Accounts(console.state)


routes = [
    Route("/accounts", show_all, methods=["GET"]),
    Route("/accounts", add, methods=["POST"]),
    Route("/accounts/{name}", change, methods=["POST"]),
    Route("/account", show_own, methods=["GET"]),
    Route("/account", change_own, methods=["POST"]),
]
