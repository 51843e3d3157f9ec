"""A token endpoint: the requests and answers of OAuth2 are authlib's (RFC 6749, 7636), the connection is ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

import httpx
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.client import OAuth2Client

from sorbus.api import bounded
from sorbus.api.auth.tokens import Tokens
from sorbus.api.connection import Application
from sorbus.api.faults import clean, retry_after
from sorbus.errors import AuthError, SorbusError, TransientError, refused_login

_LARGEST = 1024 * 1024
_WHOLE = 10.0
_TIMEOUT = httpx.Timeout(10.0, connect=5.0)
"""Below the time that others wait for the right to renew (the state's lock_timeout)."""
_LATER = frozenset({"temporarily_unavailable", "server_error", "slow_down"})


class TokenEndpoint:
    """One application's. TransientError when it can't be reached or answers nonsense, AuthError when it refuses us."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def client_credentials(self) -> Tokens:
        """Tokens for ourselves (RFC 6749, section 4.4)."""
        return self._tokens(
            self._client(" ".join(self._application.auth.scopes)).fetch_token(grant_type="client_credentials")
        )

    def refresh(self, refresh_token: str) -> Tokens:
        """New tokens for the last ones; their refresh token is the one given where the answer holds no other."""
        return self._tokens(self._client().refresh_token(refresh_token=refresh_token))

    def exchange(self, code: str, *, verifier: str, redirect_uri: str) -> Tokens:
        """Tokens for what a login brought back (RFC 6749, section 4.1.3; RFC 7636)."""
        client = self._client(redirect_uri=redirect_uri)
        return self._tokens(client.fetch_token(grant_type="authorization_code", code=code, code_verifier=verifier))

    def login_url(self, *, verifier: str, redirect_uri: str) -> tuple[str, str]:
        """Where a person logs in, and the state that has to come back (RFC 8252)."""
        auth = self._application.auth
        client = self._client(" ".join([*auth.scopes, *auth.login_scopes]), redirect_uri=redirect_uri)
        url, state = client.create_authorization_url(self._application.fill(auth.authorize_url), code_verifier=verifier)
        return str(url), str(state)

    def _client(self, scope: str = "", *, redirect_uri: str | None = None) -> OAuth2Client:
        application = self._application
        secret = application.connection.value("client_secret")
        return OAuth2Client(
            _Session(application.system),
            application.connection.client_id,
            secret,
            token_endpoint_auth_method=application.auth.client_auth if secret else "none",
            scope=scope or None,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            token_endpoint=application.token_url,
        )

    def _tokens(self, given: Mapping[str, object]) -> Tokens:
        access, refresh, lasts = given.get("access_token"), given.get("refresh_token"), given.get("expires_in")
        if not isinstance(access, str) or not access or not access.isascii() or not access.isprintable():
            raise TransientError(f"{_doing(self._application.system)}: the answer holds no access token; try again")
        try:
            seconds = float(lasts) if isinstance(lasts, int | float | str) else None
        except ValueError:
            seconds = None
        return Tokens(access, refresh if isinstance(refresh, str) and refresh else None, seconds)


class _Answer(NamedTuple):
    """What authlib reads of a good answer."""

    status_code: int
    body: dict[str, object]

    def json(self) -> dict[str, object]:
        return self.body


class _Session:
    """What authlib sends its requests with."""

    def __init__(self, system: str) -> None:
        self._system = system

    def post(self, url: str, *, data: Mapping[str, str], headers: Mapping[str, str], auth: ClientAuth) -> _Answer:
        body = str(httpx.QueryParams(dict(data)))
        url, signed, body = auth.prepare("POST", url, dict(headers), body)
        doing = _doing(self._system)
        try:
            with httpx.Client(timeout=_TIMEOUT, follow_redirects=False) as client, bounded.within(_WHOLE):
                request = client.build_request("POST", url, content=body, headers=signed)
                response, content = bounded.read(client, request, largest=_LARGEST)
        except (bounded.TooLarge, bounded.UnknownEncoding) as error:
            raise TransientError(
                f"{doing}: its answer is too large, or packed in an unknown way; see token_url"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise TransientError(f"{doing}: no answer ({type(error).__name__}); try again") from error
        try:
            found = json.loads(content)
        except (ValueError, RecursionError):
            found = None
        found = found if isinstance(found, dict) else {}
        if response.status_code != 200 or not found or "error" in found:
            raise _refusal(self._system, response, found)
        return _Answer(response.status_code, found)


def _refusal(system: str, response: httpx.Response, found: Mapping[str, object]) -> SorbusError:
    """Tells "refused" from "can't answer" (RFC 6749, section 5.2): only the first needs a person."""
    code, status = str(found.get("error") or ""), response.status_code
    words = clean(
        " ".join(str(part) for part in (code, found.get("error_description") or found.get("message")) if part)
    )
    said = f"{_doing(system)}: it answers {status}{f': {words}' if words else ''}"
    if code in _LATER or status not in (200, 400, 401, 403) or (status == 200 and not code):
        return TransientError(f"{said}; try again", retry_after=retry_after(response.headers))
    if code in ("invalid_client", "unauthorized_client", "invalid_scope"):
        words = f"{said}; a person has to mend client_id, client_secret or scopes of {system} in the map"
        return refused_login(AuthError(words))
    return refused_login(AuthError(f"{said}; a person has to log in again: sorbus api login {system}"))


def _doing(system: str) -> str:
    return f"getting tokens for {system} from its token endpoint"
