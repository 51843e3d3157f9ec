"""An application of the map: its description and its connection."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from sorbus.connector import BoundSystem
from sorbus.errors import Finding, MapError
from sorbus.http_api.description import Auth, Description, Limit
from sorbus.http_api.load import load_description
from sorbus.spelling import closest

_UNSET = re.compile(r"\$\{[^}]*\}")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_CREDENTIALS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "api-key": ("api_key",),
    "basic": ("username", "password"),
    "bearer": ("token",),
    "oauth2": ("client_id", "client_secret"),
    "session": ("username", "password"),
}


def credential_names(auth: Auth) -> tuple[str, ...]:
    """The keys that a connection needs for an authentication method."""
    return ("api_key",) if auth.key_as else _CREDENTIALS[auth.kind]


Secret = Annotated[SecretStr, BeforeValidator(lambda given: str(given) if isinstance(given, int) else given)]


class HttpConnection(BaseModel):
    """The `connection:` of a system of kind http, plus the keys of the description's `settings:`."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Secret]

    api: str = Field(description="A description that comes with Sorbus, or the path of your own, apis/NAME.yaml.")
    base_url: str = Field(default="", description="Overrides the description's: your own server, or a sandbox.")
    token_url: str = Field(default="", description="Overrides the description's, for a base_url of your own.")
    allow_http: bool = Field(default=False, description="Plain http to another machine: anyone in between can read it.")
    api_key: Secret | None = None
    username: str | None = None
    password: Secret | None = None
    token: Secret | None = None
    client_id: str | None = None
    client_secret: Secret | None = None
    refresh_token: Secret | None = Field(default=None, description="The first; later ones are in the state database.")
    grant: Literal["client_credentials", "refresh_token"] | None = Field(
        default=None, description="Which of the description's OAuth2 grants; default: its first."
    )
    webhook_secret: Secret | None = Field(default=None, description="What webhooks are signed with; turns them on.")
    webhook_url: str = Field(default="", description="The address the application posts to; HubSpot signs it too.")
    limits: list[Limit] | None = Field(default=None, description="Overrides the description's: a bigger plan.")

    def value(self, name: str) -> str | None:
        """A setting or credential as text, from its own field or the description's settings; None if not given."""
        found = getattr(self, name, None) if name in type(self).model_fields else (self.model_extra or {}).get(name)
        return found.get_secret_value() if isinstance(found, SecretStr) else found


@dataclass(frozen=True, slots=True)
class Application:
    """One application of the map, complete, for making a transport. `auth` is the chosen authentication method."""

    system: str
    description: Description
    connection: HttpConnection
    settings: Mapping[str, str] = field(repr=False)
    base_url: str
    token_url: str
    auth: Auth
    limits: tuple[Limit, ...]

    @property
    def grant(self) -> Literal["client_credentials", "refresh_token"]:
        """The OAuth2 grant to use."""
        return self.connection.grant or self.auth.grants[0]

    def fill(self, text: str) -> str:
        """`text` with the placeholders of settings filled in; others are kept."""
        return _fill(text, self.settings)


def application(system: BoundSystem) -> Application:
    """Combines a system's description and connection; MapError with everything that is missing between them.

    Secrets that need not be set (a check) stay as `${NAME}`; their values are then not checked.
    """
    connection = system.connection
    if not isinstance(connection, HttpConnection):
        raise TypeError(f"{system.name} is not an HTTP API")
    try:
        description = load_description(connection.api, system.folder)
    except MapError as error:
        if any(found.code == "unknown-api" for found in error.findings):
            found = error.findings[0]
            raise MapError([system.finding("api", found.code, found.message, found.fix)]) from error
        raise
    settings = {
        name: value
        for name, setting in description.settings.items()
        if (value := connection.value(name) or setting.default) is not None
    }
    auth = _way_in(description, connection)
    made = Application(
        system=system.name,
        description=description,
        connection=connection,
        settings=settings,
        base_url=_fill(connection.base_url or description.base_url, settings).rstrip("/"),
        token_url=_fill(connection.token_url or auth.token_url, settings),
        auth=auth,
        limits=tuple(description.limits if connection.limits is None else connection.limits),
    )
    findings = [
        *_settings(system, made),
        *_credentials(system, made),
        *_address(system, connection, "base_url", made.base_url),
        *_address(system, connection, "token_url", made.token_url),
    ]
    if findings:
        raise MapError(sorted(findings))
    return made


def identity_of(application: Application) -> str:
    """Which application, and whose account in it: the address, and a digest of the settings that aren't secret."""
    known = application.description.settings
    settings = {name: value for name, value in application.settings.items() if not known[name].secret}
    digest = blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=4).hexdigest()
    return f"{application.base_url}#{digest}" if settings else application.base_url


def _fill(text: str, settings: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: settings.get(found[1], found[0]), text)


def _way_in(description: Description, connection: HttpConnection) -> Auth:
    """The first authentication method whose credentials the connection has; the first of all if it has none."""
    ways = [description.auth, *description.other_auth]
    return next((way for way in ways if all(connection.value(name) for name in credential_names(way))), ways[0])


def _settings(system: BoundSystem, made: Application) -> Iterator[Finding]:
    description = made.description
    for name, setting in description.settings.items():
        value = made.settings.get(name)
        if value is None:
            message = f"{description.title} needs {name} ({setting.doc.rstrip('.')})"
            yield system.finding("", "missing", message, f"write {name}: … into the connection")
        elif setting.pattern and value and not _UNSET.search(value) and not re.fullmatch(setting.pattern, value):
            yield system.finding(name, "bad-value", f"the value of {name} is invalid", f"write {setting.doc}")
    known = {*description.settings, *HttpConnection.model_fields}
    for name in made.connection.model_extra or {}:
        if name not in known:
            yield system.finding(name, "unknown-key", f"unknown key {name!r} in the connection", closest(name, known))


def _credentials(system: BoundSystem, made: Application) -> Iterator[Finding]:
    auth = made.auth
    for name in credential_names(auth):
        if not made.connection.value(name):
            ways = [auth, *(way for way in made.description.other_auth if way is not auth)]
            others = ", or ".join(" and ".join(credential_names(way)) for way in ways[1:])
            fix = f"write {name}: ${{…}} into the connection{f' (or {others})' if others else ''}"
            yield system.finding("", "missing", f"{made.description.title} needs {name}", f"{fix}. {auth.doc}".rstrip())
    if auth.kind == "oauth2" and made.grant not in auth.grants:
        message = f"{made.description.title} has no grant {made.grant}"
        yield system.finding("grant", "bad-value", message, f"write {' or '.join(auth.grants)}")


def _address(system: BoundSystem, connection: HttpConnection, name: str, url: str) -> Iterator[Finding]:
    """Problems that prevent sending credentials to an address."""
    if not url and name == "base_url":
        message = "the application's address is missing"
        yield system.finding("", "missing", message, "write base_url: https://… into the connection")
    if not url or _UNSET.search(url) or _PLACEHOLDER.search(url):
        return
    key = name if name in connection.model_fields_set else ""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host or re.search(r"[\s\\]", url):
        yield system.finding(key, "bad-address", f"{name} is not a valid web address", "write https://HOST/PATH")
    elif parts.username or parts.password:
        fix = "remove them from the address: write username and password"
        yield system.finding(key, "bad-address", f"{name} contains credentials", fix)
    elif parts.query or parts.fragment:
        yield system.finding(key, "bad-address", f"{name} has more than host and path", "end it before the ? or #")
    elif parts.scheme == "http" and not connection.allow_http and not _is_this_machine(host):
        fix = "write https://, or allow_http: true if the network in between is your own"
        yield system.finding(key, "bad-address", f"{name} would send credentials unencrypted to {host}", fix)


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
