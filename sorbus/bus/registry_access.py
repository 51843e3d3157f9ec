"""How a registry is reached: its certificates, and logins by password, bearer token or OAuth 2 client credentials.

The keys of SORBUS_REGISTRY_CONFIG are those of Confluent's clients, so that a provider's page can be copied.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Generator, Mapping
from time import monotonic
from urllib.parse import urlsplit

import httpx

from sorbus.errors import AuthError, UsageError
from sorbus.http_api import bounded
from sorbus.settings import Settings
from sorbus.tls import trusted_certificates

_USER = "basic.auth.user.info"
_TOKEN = "bearer.auth.token"  # noqa: S105 - a setting's name
_ISSUER, _CLIENT, _SECRET, _SCOPE = (
    "bearer.auth.issuer.endpoint.url", "bearer.auth.client.id", "bearer.auth.client.secret", "bearer.auth.scope",
)  # fmt: skip
_CA, _CERTIFICATE, _KEY, _KEY_PASSWORD = (
    "ssl.ca.location", "ssl.certificate.location", "ssl.key.location", "ssl.key.password",
)  # fmt: skip
_HEADERS = {
    "bearer.auth.logical.cluster": "target-sr-cluster",
    "bearer.auth.identity.pool.id": "Confluent-Identity-Pool-Id",
}
_KNOWN = (_USER, _TOKEN, _ISSUER, _CLIENT, _SECRET, _SCOPE, *_HEADERS, _CA, _CERTIFICATE, _KEY, _KEY_PASSWORD)
_LARGEST, _WITHIN = 1024 * 1024, 15.0
_REFUSALS = (httpx.codes.BAD_REQUEST, httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
_AHEAD = 30.0
"""Seconds before its end at which a token is renewed; a tenth of its life if that is less."""


def registry_client(settings: Settings, *, timeout: float, headers: Mapping[str, str] | None = None) -> httpx.Client:
    """A client for the configured registry. UsageError for an unknown key, a missing one or an unreadable file."""
    config = settings.registry_config
    if unknown := [key for key in config if key not in _KNOWN]:
        raise UsageError(f"SORBUS_REGISTRY_CONFIG: {', '.join(unknown)} isn't known; known: {', '.join(_KNOWN)}")
    trusted = _certificates(config)
    sent = {**(headers or {}), **{header: config[key] for key, header in _HEADERS.items() if key in config}}
    try:
        url = httpx.URL(settings.registry.rstrip("/"))
    except httpx.InvalidURL:  # its words may quote a part of a password
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise UsageError(
            "SORBUS_REGISTRY is not an address: write https://HOST, and special characters of a user or password"
            " percent-encoded: @ as %40, / as %2F, : as %3A, # as %23"
        )
    return httpx.Client(
        base_url=url,
        timeout=timeout,
        headers=sent,
        verify=trusted,
        auth=_login(config),
    )


def registry_certificates(settings: Settings) -> ssl.SSLContext:
    """Those that a connection to the registry is checked with, and shows. UsageError for an unreadable file."""
    return _certificates(settings.registry_config)


def _certificates(config: Mapping[str, str], *, public: bool = False) -> ssl.SSLContext:
    """`public`: an issuer of tokens may have a public certificate where the registry has a private one."""
    files = [config.get(key) for key in (_CA, _CERTIFICATE, _KEY)]
    if not any(files):
        return trusted_certificates()
    ca, certificate, key = files
    if key and not certificate:
        raise UsageError(f"SORBUS_REGISTRY_CONFIG: {_KEY} needs {_CERTIFICATE}")
    try:
        context = ssl.create_default_context(cafile=ca)
        if public:
            context.load_default_certs()
        if certificate:
            context.load_cert_chain(certificate, key, config.get(_KEY_PASSWORD, ""))
    except (OSError, ssl.SSLError) as error:
        named = ", ".join(file for file in files if file)
        raise UsageError(f"SORBUS_REGISTRY_CONFIG: the certificates can't be used ({named}): {error}") from error
    return context


def _login(config: Mapping[str, str]) -> httpx.Auth | None:
    ways = [key for key in (_USER, _TOKEN, _ISSUER) if key in config]
    if len(ways) > 1:
        raise UsageError(f"SORBUS_REGISTRY_CONFIG has {' and '.join(ways)}: keep one of them")
    match ways:
        case [key] if key == _USER:
            user, _, password = config[_USER].partition(":")
            return httpx.BasicAuth(user, password)
        case [key] if key == _TOKEN:
            if not _is_token(config[_TOKEN]):
                raise UsageError(f"SORBUS_REGISTRY_CONFIG: {_TOKEN} has a line break, a blank or a letter beyond ASCII")
            return BearerLogin(lambda: (config[_TOKEN], None))
        case [_]:
            if lacking := [key for key in (_CLIENT, _SECRET) if key not in config]:
                raise UsageError(f"SORBUS_REGISTRY_CONFIG: {_ISSUER} needs {' and '.join(lacking)}")
            return BearerLogin(ClientCredentials(config, _certificates(config, public=True)))
        case _:
            return None


class ClientCredentials:
    """Fetches a token from the issuer (RFC 6749, 4.4): (token, seconds that it lasts, if it says)."""

    def __init__(self, config: Mapping[str, str], trusted: ssl.SSLContext) -> None:
        self._url = config[_ISSUER]
        parts = urlsplit(self._url)
        self._named = f"the token endpoint {parts.scheme}://{parts.hostname}{parts.path}"  # without its logins
        self._login = (config[_CLIENT], config[_SECRET])
        self._form = {"grant_type": "client_credentials", **({"scope": config[_SCOPE]} if _SCOPE in config else {})}
        self._trusted = trusted

    def __call__(self) -> tuple[str, float | None]:
        """AuthError where the issuer refuses the client; httpx.HTTPError where it gives no token for now."""
        try:
            with httpx.Client(timeout=5.0, verify=self._trusted, auth=self._login) as client, bounded.within(_WITHIN):
                request = client.build_request("POST", self._url, data=self._form)
                response, raw = bounded.read(client, request, largest=_LARGEST)
        except (httpx.HTTPError, httpx.InvalidURL, bounded.TooLarge, bounded.UnknownEncoding, OSError) as error:
            raise httpx.HTTPError(f"{self._named} can't answer: {str(error) or type(error).__name__}") from None
        code = response.status_code
        if code in _REFUSALS:
            fix = f"see {_CLIENT}, {_SECRET} and {_SCOPE} in SORBUS_REGISTRY_CONFIG"
            raise AuthError(f"{self._named} refuses us with status {code}; {fix}")
        try:
            found = json.loads(raw) if response.is_success else {}
            token, lasts = found["access_token"], found.get("expires_in")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise httpx.HTTPError(f"{self._named} answers {code} without an access_token") from None
        if not isinstance(token, str) or not _is_token(token):
            raise httpx.HTTPError(f"{self._named} gives an access_token that no header can hold")
        return token, _seconds(lasts)


def _is_token(text: str) -> bool:
    """Whether a header can hold it: an error about one that can't would show it."""
    return text.isascii() and text.isprintable() and " " not in text and text != ""


def _seconds(lasts: object) -> float | None:
    """How long a token lasts; None where that isn't said as a number above zero."""
    try:
        seconds = float(lasts) if isinstance(lasts, int | float | str) and not isinstance(lasts, bool) else 0.0
    except (ValueError, OverflowError):
        return None
    return seconds if 0.0 < seconds < float("inf") else None


class BearerLogin(httpx.Auth):
    """A bearer token with each request, fetched again before it ends, and once where the registry refuses it."""

    def __init__(self, fetch: Callable[[], tuple[str, float | None]]) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._token, self._until = "", 0.0

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """httpx's protocol."""
        used = self._current()
        request.headers["Authorization"] = f"Bearer {used}"
        response = yield request
        if response.status_code == httpx.codes.UNAUTHORIZED:
            newer = self._current(than=used)
            if newer != used:
                request.headers["Authorization"] = f"Bearer {newer}"
                yield request

    def _current(self, *, than: str | None = None) -> str:
        """The token; another one where `than` was refused."""
        if not self._lock.acquire(timeout=_WITHIN):
            raise httpx.HTTPError(f"no token within {_WITHIN:.0f} s: another request still waits for one")
        try:
            if monotonic() >= self._until or self._token == than:
                self._token, lasts = self._fetch()
                self._until = monotonic() + (max(lasts - _AHEAD, lasts * 0.9) if lasts else 3600.0)
            return self._token
        finally:
            self._lock.release()
