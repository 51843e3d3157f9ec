"""How a registry is reached: its certificates, and logins by password, bearer token or OAuth 2 client credentials.

The keys of SORBUS_REGISTRY_CONFIG are those of Confluent's clients, so that a provider's page can be copied.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Generator, Mapping
from time import monotonic

import httpx

from sorbus.errors import UsageError
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
_AHEAD = 30.0
"""Seconds before its end at which a token is renewed; a tenth of its life if that is less."""


def registry_client(settings: Settings, *, timeout: float, headers: Mapping[str, str] | None = None) -> httpx.Client:
    """A client for the configured registry. UsageError for an unknown key, a missing one or an unreadable file."""
    config = settings.registry_config
    if unknown := [key for key in config if key not in _KNOWN]:
        raise UsageError(f"SORBUS_REGISTRY_CONFIG: {', '.join(unknown)} isn't known; known: {', '.join(_KNOWN)}")
    trusted = _certificates(config)
    sent = {**(headers or {}), **{header: config[key] for key, header in _HEADERS.items() if key in config}}
    return httpx.Client(
        base_url=settings.registry.rstrip("/"),
        timeout=timeout,
        headers=sent,
        verify=trusted,
        auth=_login(config, trusted),
    )


def _certificates(config: Mapping[str, str]) -> ssl.SSLContext:
    files = [config.get(key) for key in (_CA, _CERTIFICATE, _KEY)]
    if not any(files):
        return trusted_certificates()
    ca, certificate, key = files
    if key and not certificate:
        raise UsageError(f"SORBUS_REGISTRY_CONFIG: {_KEY} needs {_CERTIFICATE}")
    try:
        context = ssl.create_default_context(cafile=ca)
        if certificate:
            context.load_cert_chain(certificate, key, config.get(_KEY_PASSWORD, ""))
    except (OSError, ssl.SSLError) as error:
        named = ", ".join(file for file in files if file)
        raise UsageError(f"SORBUS_REGISTRY_CONFIG: the certificates can't be used ({named}): {error}") from error
    return context


def _login(config: Mapping[str, str], trusted: ssl.SSLContext) -> httpx.Auth | None:
    ways = [key for key in (_USER, _TOKEN, _ISSUER) if key in config]
    if len(ways) > 1:
        raise UsageError(f"SORBUS_REGISTRY_CONFIG has {' and '.join(ways)}: keep one of them")
    match ways:
        case [key] if key == _USER:
            user, _, password = config[_USER].partition(":")
            return httpx.BasicAuth(user, password)
        case [key] if key == _TOKEN:
            return BearerLogin(lambda: (config[_TOKEN], None))
        case [_]:
            if lacking := [key for key in (_CLIENT, _SECRET) if key not in config]:
                raise UsageError(f"SORBUS_REGISTRY_CONFIG: {_ISSUER} needs {' and '.join(lacking)}")
            return BearerLogin(ClientCredentials(config, trusted))
        case _:
            return None


class ClientCredentials:
    """Fetches a token from the issuer (RFC 6749, 4.4): (token, seconds that it lasts, if it says)."""

    def __init__(self, config: Mapping[str, str], trusted: ssl.SSLContext) -> None:
        self._url = config[_ISSUER]
        self._login = (config[_CLIENT], config[_SECRET])
        self._form = {"grant_type": "client_credentials", **({"scope": config[_SCOPE]} if _SCOPE in config else {})}
        self._trusted = trusted

    def __call__(self) -> tuple[str, float | None]:
        """httpx.HTTPError where the issuer gives none."""
        with httpx.Client(timeout=5.0, verify=self._trusted, auth=self._login) as client, bounded.within(_WITHIN):
            request = client.build_request("POST", self._url, data=self._form)
            response, raw = bounded.read(client, request, largest=_LARGEST)
        try:
            found = json.loads(raw) if response.is_success else {}
            token, lasts = found["access_token"], found.get("expires_in")
        except (ValueError, KeyError, TypeError, AttributeError):
            code = response.status_code
            raise httpx.HTTPError(f"the token endpoint {self._url} answers {code} without an access_token") from None
        return str(token), float(lasts) if isinstance(lasts, int | float | str) and str(lasts).isdigit() else None


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
        with self._lock:
            if monotonic() >= self._until or self._token == than:
                self._token, lasts = self._fetch()
                self._until = monotonic() + (max(lasts - _AHEAD, lasts * 0.9) if lasts else 3600.0)
            return self._token
