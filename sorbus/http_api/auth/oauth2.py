"""OAuth2 tokens that are always valid: renewed before they expire, by one process at a time, stored before use."""

from __future__ import annotations

from dataclasses import replace
from threading import Lock

from sorbus.errors import AuthError
from sorbus.http_api.auth.credentials import Signature
from sorbus.http_api.auth.endpoint import TokenEndpoint
from sorbus.http_api.auth.tokens import Tokens, TokenStore
from sorbus.http_api.connection import Application
from sorbus.state import State


class OAuth2:
    """Implements `Credentials`, with the grant client_credentials or refresh_token."""

    def __init__(self, application: Application, state: State) -> None:
        self._application = application
        self._scheme = application.auth.scheme
        self._store = TokenStore(state, application)
        self._endpoint = TokenEndpoint(application)
        self._current: Tokens | None = None
        self._unstored: Tokens | None = None
        """Received when the state was unreachable: the old refresh token may be used up, so keep the new one."""
        self._lock = Lock()

    def signature(self) -> Signature:
        """See `Credentials`. TransientError also when the state can't be reached."""
        current = self._current
        if current is None or not current.is_fresh:
            current = self._renewed(refused=None)
        return Signature({"Authorization": f"{self._scheme} {current.access}"})

    def refresh_after_401(self, refused: Signature) -> bool:
        """See `Credentials`."""
        self._renewed(refused=refused.headers["Authorization"].removeprefix(f"{self._scheme} "))
        return True

    def _renewed(self, *, refused: str | None) -> Tokens:
        """Tokens that are fresh and not the rejected ones: another thread's, another process's, or new."""
        with self._lock:
            if not _is_good(self._current, refused):
                known = self._store.read()
                self._current = known if _is_good(known, refused) else self._renew(refused)
            assert self._current is not None
            return self._current

    def _renew(self, refused: str | None) -> Tokens | None:
        with self._store.renewing() as renewal:
            if _is_good(renewal.tokens, refused):
                self._unstored = None
                return renewal.tokens
            if self._unstored is None:
                self._unstored = self._ask(renewal.tokens)
            renewal.keep(self._unstored)
        self._unstored = None
        return self._store.read()

    def _ask(self, known: Tokens | None) -> Tokens:
        if self._application.grant == "client_credentials":
            return replace(self._endpoint.client_credentials(), refresh=None)
        last = (known.refresh if known else None) or self._application.connection.value("refresh_token")
        if not last:
            system = self._application.system
            raise AuthError(f"no login for {system} yet: run sorbus api login {system}")
        return self._endpoint.refresh(last)


def _is_good(tokens: Tokens | None, refused: str | None) -> bool:
    return tokens is not None and tokens.is_fresh and tokens.access != refused
