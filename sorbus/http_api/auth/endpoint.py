"""A token endpoint: authlib makes the requests and reads the answers (RFC 6749, 7636); we make the connection."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import httpx
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.client import OAuth2Client

from sorbus.errors import AuthError, SorbusError, TransientError, refused_login
from sorbus.http_api import bounded
from sorbus.http_api.auth.tokens import Tokens
from sorbus.http_api.connection import Application
from sorbus.http_api.error_mapping import clean, retry_after
from sorbus.http_api.path import read_path
from sorbus.tls import trusted_certificates

_LARGEST = 1024 * 1024
_LONGEST_LIFE = 100 * 366 * 86_400.0
"""Seconds: a longer lifetime, or one that isn't a number (NaN), is treated as unknown."""
_WHOLE = 10.0
_TIMEOUT = httpx.Timeout(10.0, connect=5.0)
"""Shorter than others wait for the right to renew (the state's lock_timeout)."""
_TRY_AGAIN = frozenset({408, 425, 429})
_LATER = frozenset({"temporarily_unavailable", "server_error", "slow_down"})


class TokenEndpoint:
    """An application's token endpoint. TransientError if it can't be reached, AuthError if a person must act."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def client_credentials(self) -> Tokens:
        """Tokens for ourselves (RFC 6749, section 4.4)."""
        return self._tokens(
            self._client(" ".join(self._application.auth.scopes)).fetch_token(grant_type="client_credentials")
        )

    def refresh(self, refresh_token: str) -> Tokens:
        """New tokens for the last ones; the refresh token is kept if the answer has no other."""
        return self._tokens(self._client().refresh_token(refresh_token=refresh_token))

    def exchange(self, code: str, *, verifier: str, redirect_uri: str) -> Tokens:
        """Tokens for the code of a login (RFC 6749, section 4.1.3; RFC 7636)."""
        client = self._client(redirect_uri=redirect_uri)
        return self._tokens(client.fetch_token(grant_type="authorization_code", code=code, code_verifier=verifier))

    def login_url(self, *, verifier: str, redirect_uri: str) -> tuple[str, str]:
        """The login page for a person, and the state that must be returned (RFC 8252)."""
        auth = self._application.auth
        client = self._client(" ".join([*auth.scopes, *auth.login_scopes]), redirect_uri=redirect_uri)
        url, state = client.create_authorization_url(
            self._application.fill(auth.authorize_url), code_verifier=verifier, **_parameters(self._application)
        )
        return str(url), str(state)

    def _client(self, scope: str = "", *, redirect_uri: str | None = None) -> OAuth2Client:
        application = self._application
        secret = application.connection.value("client_secret")
        return OAuth2Client(
            _Session(application),
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
            doing = _doing(self._application.system)
            raise AuthError(
                f"{doing}: the access_token in its answer is not text that a header can hold; see that token_url is"
                " the token endpoint"
            )
        try:
            seconds = float(lasts) if isinstance(lasts, int | float | str) else None
        except (ValueError, OverflowError):
            seconds = None
        if seconds is not None and not 0 <= seconds < _LONGEST_LIFE:
            seconds = None
        return Tokens(access, refresh if isinstance(refresh, str) and refresh else None, seconds)


class _Answer(NamedTuple):
    """What authlib reads from a success answer."""

    status_code: int
    body: dict[str, object]

    def json(self) -> dict[str, object]:
        return self.body


class _Session:
    """What authlib sends its requests with."""

    def __init__(self, application: Application) -> None:
        self._application, self._system = application, application.system

    def post(self, url: str, *, data: Mapping[str, str], headers: Mapping[str, str], auth: ClientAuth) -> _Answer:
        body = str(httpx.QueryParams({**_parameters(self._application), **data}))
        url, signed, body = auth.prepare("POST", url, dict(headers), body)
        doing = _doing(self._system)
        try:
            client = httpx.Client(timeout=_TIMEOUT, follow_redirects=False, verify=trusted_certificates())
            with client, bounded.within(_WHOLE):
                request = client.build_request("POST", url, content=body, headers=signed)
                response, content = bounded.read(client, request, largest=_LARGEST)
        except (bounded.TooLarge, bounded.UnknownEncoding) as error:
            raise TransientError(
                f"{doing}: its answer is too large, or packed in an unknown way; see token_url"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise TransientError(f"{doing}: no answer ({type(error).__name__}); try again") from error
        found = _parsed(response, content)
        holds = read_path(found, self._application.auth.tokens_at)
        if response.is_success and isinstance(holds, dict) and "access_token" in holds and "error" not in found:
            return _Answer(200, holds)
        raise _refusal(self._application, data.get("grant_type", ""), response, found)


def _parsed(response: httpx.Response, content: bytes) -> dict[str, Any]:
    """The answer's object, also if it is form-encoded (GitHub, formerly Facebook); empty if it is neither."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        is_form = kind == "application/x-www-form-urlencoded" or content.startswith((b"access_token=", b"error="))
        text = content.decode("utf-8", "replace") if is_form else ""
        return dict(parse_qsl(text, max_num_fields=100)) if text.count("&") < 100 else {}
    return found if isinstance(found, dict) else {}


def _refusal(application: Application, grant: str, response: httpx.Response, found: Mapping[str, Any]) -> SorbusError:
    """Distinguishes "rejected" from "can't answer" (RFC 6749, section 5.2), and what only a person can change."""
    system, code, status = application.system, str(found.get("error") or ""), response.status_code
    described = found.get("error_description") or found.get("message")
    words = clean(" ".join(str(part) for part in (code, described) if part))
    said = f"{_doing(system)}: it answers {status}{f': {words}' if words else ''}"
    if code in _LATER or status in _TRY_AGAIN or status >= 500:
        return TransientError(f"{said}; try again", retry_after=retry_after(response.headers))
    if response.is_success and not code:
        return _shapeless(application, said, found)
    if not code and status not in (400, 401, 403):
        return AuthError(f"{said}; see that token_url of {system} is the token endpoint")
    if code == "unsupported_grant_type":
        return AuthError(f"{said}; it knows no grant {grant}: write another `grant:` for {system} in the map")
    if code in ("invalid_client", "unauthorized_client", "invalid_scope"):
        words = f"{said}; a person has to fix client_id, client_secret or scopes of {system} in the map"
        return refused_login(AuthError(words))
    if grant == "client_credentials":
        words = (
            f"{said}; a person has to fix client_id, client_secret or scopes of {system} in the map, or what its client"
            " may do there; where it wants an audience or resource, write `token_parameters: {audience: …}` under"
            " auth: in its description"
        )
        return refused_login(AuthError(words))
    return refused_login(AuthError(f"{said}; a person has to log in again: sorbus api login {system}"))


def _shapeless(application: Application, said: str, found: Mapping[str, Any]) -> SorbusError:
    """A success answer without a token where one is expected."""
    system = application.system
    if not found:
        return TransientError(f"{said} without JSON; see that token_url of {system} is the token endpoint")
    there = next((path for path in _ways(found) if "access_token" in (read_path(found, path) or {})), None)
    if there is not None:
        fix = f"write `tokens_at: {there}` under auth:" if there else "take tokens_at out of auth:"
        where = f"in {there}" if there else "at its top"
        return AuthError(f"{said} with access_token {where}; {fix} in the description of {system}")
    names = ", ".join(clean(name)[:40] for name in list(found)[:10])
    return AuthError(f"{said} with {names}, and no access_token; see that token_url of {system} is the token endpoint")


def _ways(found: Mapping[str, Any], path: str = "", depth: int = 0) -> Iterator[str]:
    """The paths of an answer's objects, itself first."""
    yield path
    for name, value in found.items():
        if isinstance(value, dict) and depth < 3 and str(name).isidentifier():
            yield from _ways(value, f"{path}.{name}" if path else str(name), depth + 1)


def _parameters(application: Application) -> dict[str, str]:
    return {name: application.fill(text) for name, text in application.auth.token_parameters.items()}


def _doing(system: str) -> str:
    return f"getting tokens for {system} from its token endpoint"
