"""OAuth2 tokens in the state database, where every process finds the newest, and only one at a time renews them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from time import monotonic

from sorbus.http_api.connection import Application
from sorbus.postgres.connection import Connection
from sorbus.state import State

_AHEAD = 60.0
"""Seconds before expiry at which a token is renewed; a tenth of its lifetime if that is less."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A token endpoint's result. `fresh_until` is on our monotonic clock; `lasts` in seconds, if it expires."""

    access: str = field(repr=False)
    refresh: str | None = field(default=None, repr=False)
    lasts: float | None = None
    fresh_until: float = float("inf")

    @property
    def is_fresh(self) -> bool:
        """Whether it is still valid for a while."""
        return monotonic() < self.fresh_until


class TokenStore:
    """The tokens of one system. Tokens derived from another seed in the map are ignored."""

    def __init__(self, state: State, application: Application) -> None:
        self._state = state
        self._values = {"system": application.system, "seed": _seed(application)}

    def read(self) -> Tokens | None:
        """The newest; None before the first. Errors as in `State.connection`."""
        with self._state.connection() as connection:
            return self._read(connection)

    @contextmanager
    def renewing(self) -> Iterator[Renewal]:
        """The exclusive right to renew; waits for the current holder. Commits what was kept."""
        with self._state.connection() as connection:
            connection.execute("set local synchronous_commit = on")
            connection.execute(_sql("token_lock"), self._values)
            yield Renewal(connection, self._values, self._read(connection))

    def keep(self, tokens: Tokens) -> None:
        """Stores the result of a person's login."""
        with self.renewing() as renewal:
            renewal.keep(tokens)

    def _read(self, connection: Connection) -> Tokens | None:
        row = connection.execute(_sql("token_read"), self._values).fetchone()
        if row is None:
            return None
        access, refresh, left, lasts = row
        assert isinstance(access, str)
        assert refresh is None or isinstance(refresh, str)
        if not isinstance(left, float) or not isinstance(lasts, float):
            return Tokens(access, refresh)
        return Tokens(access, refresh, lasts, monotonic() + left - min(_AHEAD, lasts / 10))


@dataclass(frozen=True, slots=True)
class Renewal:
    """The exclusive right to renew a system's tokens. `tokens`: the newest, read while holding it."""

    _connection: Connection
    _values: dict[str, str]
    tokens: Tokens | None

    def keep(self, tokens: Tokens) -> None:
        """Stores new tokens, which may be used once the renewal has ended without an error."""
        values = {**self._values, "access": tokens.access, "refresh": tokens.refresh, "lasts": tokens.lasts}
        self._connection.execute(_sql("token_keep"), values)


def _seed(application: Application) -> str:
    """Hashes of the map's values: another client or another first refresh token starts over.

    Without a refresh token it is the client's alone, with which the stored one begins.
    """
    connection = application.connection
    named = f"{application.grant}\0{connection.client_id or ''}"
    if application.grant == "client_credentials" and (more := application.auth.token_parameters):
        named += "".join(f"\0{name}={application.fill(text)}" for name, text in sorted(more.items()))
    client = _hash(named)
    refresh = connection.value("refresh_token")
    return f"{client}.{_hash(refresh)}" if refresh else f"{client}."


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _sql(name: str) -> bytes:
    return (files("sorbus.http_api.auth") / f"{name}.sql").read_bytes()
