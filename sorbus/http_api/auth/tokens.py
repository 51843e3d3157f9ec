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
"""Seconds before its end that a token is renewed; a tenth of its life if that is less."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a token endpoint gave. `fresh_until` is on our monotonic clock; `lasts` in seconds, if it ends."""

    access: str = field(repr=False)
    refresh: str | None = field(default=None, repr=False)
    lasts: float | None = None
    fresh_until: float = float("inf")

    @property
    def is_fresh(self) -> bool:
        """Whether it still has some time to go."""
        return monotonic() < self.fresh_until


class TokenStore:
    """The tokens of one system. Those that began with another seed in the map are as good as none."""

    def __init__(self, state: State, application: Application) -> None:
        self._state = state
        self._values = {"system": application.system, "seed": _seed(application)}

    def read(self) -> Tokens | None:
        """The newest; None before the first. Errors as in `State.connection`."""
        with self._state.connection() as connection:
            return self._read(connection)

    @contextmanager
    def renewing(self) -> Iterator[Renewal]:
        """The right to renew, for nobody else until its end; waits for whoever has it. Commits what was kept."""
        with self._state.connection() as connection:
            connection.execute("set local synchronous_commit = on")
            connection.execute(_sql("token_lock"), self._values)
            yield Renewal(connection, self._values, self._read(connection))

    def keep(self, tokens: Tokens) -> None:
        """Stores what a person got by logging in."""
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
    """The sole right to renew a system's tokens. `tokens`: the newest, read under it."""

    _connection: Connection
    _values: dict[str, str]
    tokens: Tokens | None

    def keep(self, tokens: Tokens) -> None:
        """Stores the new ones, which may be used when the renewal has ended without an error."""
        values = {**self._values, "access": tokens.access, "refresh": tokens.refresh, "lasts": tokens.lasts}
        self._connection.execute(_sql("token_keep"), values)


def _seed(application: Application) -> str:
    """Hashes of what the map says: another client or another first refresh token begins anew.

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
