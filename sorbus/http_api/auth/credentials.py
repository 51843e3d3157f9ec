"""Credentials of requests: one small class for each kind."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol

from sorbus.errors import AuthError
from sorbus.http_api.connection import Application


@dataclass(frozen=True, slots=True)
class Signature:
    """Headers and query parameters that hold secrets: never shown."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)


class Credentials(Protocol):
    """One system's credentials. Thread-safe."""

    def signature(self) -> Signature:
        """For the next request. AuthError if a person has to act, TransientError if they are unavailable for now."""

    def refresh_after_401(self, refused: Signature) -> bool:
        """Whether there is a new signature after this one was rejected. Errors as in `signature`."""


class Fixed:
    """Credentials that never change: API key, basic, bearer, none."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature

    def signature(self) -> Signature:
        return self._signature

    def refresh_after_401(self, refused: Signature) -> bool:  # noqa: ARG002 - the protocol's
        return False


class Session:
    """A login with a limited lifetime; `login` creates a new one and is called by one thread at a time."""

    def __init__(self, login: Callable[[], Signature]) -> None:
        self._login = login
        self._current: Signature | None = None
        self._lock = Lock()

    def signature(self) -> Signature:
        with self._lock:
            if self._current is None:
                self._current = self._login()
            return self._current

    def refresh_after_401(self, refused: Signature) -> bool:
        with self._lock:
            if self._current is refused:
                self._current = None
        return True


def api_key(application: Application) -> Fixed:
    """A key in a header, or in a query parameter."""
    auth = application.auth
    key = auth.prefix + _needed(application, "api_key")
    if auth.parameter and not auth.header:
        return Fixed(Signature(parameters={auth.parameter: key}))
    return Fixed(Signature({auth.header or "Authorization": key}))


def basic(application: Application) -> Fixed:
    """User and password (RFC 7617); an API key in the place of one of them, where the description says so."""
    match application.auth.key_as:
        case "username":
            pair = f"{_needed(application, 'api_key')}:x"
        case "password":
            pair = f"key:{_needed(application, 'api_key')}"
        case _:
            pair = f"{_needed(application, 'username')}:{_needed(application, 'password')}"
    return Fixed(Signature({"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}))


def bearer(application: Application) -> Fixed:
    """A token without expiry (RFC 6750)."""
    return Fixed(Signature({"Authorization": f"{application.auth.scheme} {_needed(application, 'token')}"}))


def _needed(application: Application, name: str) -> str:
    value = application.connection.value(name)
    if not value:
        raise AuthError(f"{application.system} needs {name}: write it into its connection in the map, as ${{NAME}}")
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
        raise AuthError(f"the {name} of {application.system} contains a line break or control character; remove it")
    return value
