"""Who is at the door: how a request becomes a person."""

from __future__ import annotations

import getpass
import secrets
from typing import Protocol

from starlette.requests import Request

from sorbus.errors import AuthError
from sorbus.ops.console.access.person import Person, Role, Visit


class Door(Protocol):
    """One way to tell who makes a request."""

    def visit(self, request: Request, cookie: str) -> Visit:
        """Who it is, by the console's cookie ("" where there is none) or else. AuthError: not to be let in at all."""
        ...


class OpenDoor:
    """On the loopback address: who has the machine has the console, and is the user of the operating system."""

    def __init__(self) -> None:
        self._person = Person(getpass.getuser(), Role.admin)

    def visit(self, request: Request, cookie: str) -> Visit:
        if forwarded := [name for name in ("forwarded", "x-forwarded-for", "via") if name in request.headers]:
            raise AuthError(
                f"this console asks nobody who they are, and a proxy passes requests on to it ({forwarded[0]});"
                " start it with --url and accounts, or with --trust-proxy"
            )
        return Visit(self._person, cookie, False) if cookie else Visit(self._person, secrets.token_urlsafe(32), True)
