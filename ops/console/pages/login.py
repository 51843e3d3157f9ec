"""Logging in and out with a local account."""

from __future__ import annotations

import logging
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from sorbus.ops.console.access.accounts import Accounts, Sessions
from sorbus.ops.console.access.attempts import DEVICE_SECONDS, Attempts
from sorbus.ops.console.page_context import Console, console_of, form_of, render, visit_of
from sorbus.ops.console.template_filters import span

_log = logging.getLogger(__name__)


def ask(request: Request) -> Response:
    """The form; those who are in already are led on."""
    way = _own_path(request.query_params.get("next", ""))
    if visit_of(request).person is not None:
        return RedirectResponse(way, HTTPStatus.SEE_OTHER)
    return render(request, "login.html", next=way, name="", wrong="")


def enter(request: Request) -> Response:
    """Checks a name and a password; a new session each time, so that one that was planted before is worth nothing."""
    console, form = _with_accounts(request), form_of(request)
    name, password = str(form.get("name", "")).replace("\0", "")[:100].strip(), str(form.get("password", ""))
    way, address = _own_path(str(form.get("next", ""))), console.proxies.client(request)
    attempts, device = Attempts(console.state), request.cookies.get(console.site.device_cookie, "")
    if wait := attempts.admit(name, address, device):
        _log.warning("too many login attempts", extra={"account": name, "address": address})
        wrong = f"Too many attempts. Wait {span(wait)}, then try again."
        answer = render(request, "login.html", status=429, next=way, name=name, wrong=wrong)
        answer.headers["retry-after"] = str(int(wait) + 1)
        return answer
    if not Accounts(console.state).is_password_of(name, password):
        _log.warning("a login was refused", extra={"account": name, "address": address})
        return render(request, "login.html", status=401, next=way, name=name, wrong="Wrong account or password.")
    attempts.succeeded(name, address, device)
    _log.info("logged in", extra={"account": name, "address": address})
    answer = RedirectResponse(way, HTTPStatus.SEE_OTHER)
    console.site.set_cookie(answer, Sessions(console.state).open(name))
    if not attempts.is_known(name, device):
        console.site.set_device_cookie(answer, attempts.remember(name), DEVICE_SECONDS)
    return answer


def leave(request: Request) -> Response:
    """Ends the session, here and in the state."""
    console, visit = _with_accounts(request), visit_of(request)
    Sessions(console.state).end(visit.secret)
    answer = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    console.site.drop_cookie(answer)
    return answer


def _with_accounts(request: Request) -> Console:
    console = console_of(request)
    if not console.has_login:
        raise HTTPException(HTTPStatus.NOT_FOUND, "this console has no accounts of its own")
    return console


def _own_path(way: str) -> str:
    """`way` if it is a path of this console as browsers read it, the first page otherwise."""
    try:
        parts = urlsplit(way) if way.isprintable() and "\\" not in way else urlsplit("")
    except ValueError:
        return "/"
    is_own = parts.path.startswith("/") and not way.startswith("//") and not parts.scheme and not parts.netloc
    return way if is_own else "/"


routes = [
    Route("/login", ask, methods=["GET"], name="login"),
    Route("/login", enter, methods=["POST"]),
    Route("/logout", leave, methods=["POST"], name="logout"),
]
