"""Authentication with an application, from its description's `auth:` and the connection's credentials."""

from __future__ import annotations

from sorbus.http_api.auth.credentials import Credentials, Fixed, Session, Signature, api_key, basic, bearer
from sorbus.http_api.connection import Application
from sorbus.state import State

__all__ = ["Credentials", "Session", "Signature", "credentials"]


def credentials(application: Application, state: State) -> Credentials:
    """An application's credentials. AuthError if the connection is incomplete. A hook creates its own session."""
    kind = application.auth.kind
    if kind == "oauth2":
        from sorbus.http_api.auth.oauth2 import OAuth2  # imported late, since authlib is slow to import

        return OAuth2(application, state)
    made = {"api-key": api_key, "basic": basic, "bearer": bearer}.get(kind)
    return made(application) if made else Fixed(Signature())
