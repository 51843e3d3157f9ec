"""Whether the schema registry and the state database answer: what flows need now and then, and may miss unnoticed."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx

from sorbus.bus.registry_access import registry_certificates
from sorbus.drift.watch import has_state
from sorbus.errors import SorbusError, TransientError
from sorbus.http_api import bounded
from sorbus.ops.monitoring.problems import Problem
from sorbus.settings import Settings
from sorbus.state import State
from sorbus.tls import connection_words, way_to

_WHOLE = 3.0
"""Seconds for the registry's answer, from the first look-up to the last byte."""
_LARGEST = 1024 * 1024


class Dependencies:
    """Asks each at most every few seconds; remembers since when one is away."""

    def __init__(self, settings: Settings, prefix: str, *, every: float = 5.0) -> None:
        self._every, self._asked_at = every, -every
        self._asks: dict[str, Callable[[], object]] = {}
        if has_state(settings):
            self._asks["state"] = lambda: State.of(prefix).run(b"select 1")
        if settings.registry:
            self._asks["registry"] = lambda: _ask_registry(settings)
        self._away: dict[str, Problem] = {}

    def __call__(self) -> list[Problem]:
        """Those that can't be used, once that is no passing thing."""
        if time.monotonic() - self._asked_at >= self._every:
            self._asked_at = time.monotonic()
            for name, ask in self._asks.items():
                self._ask(name, ask)
        return list(self._away.values())

    def _ask(self, name: str, ask: Callable[[], object]) -> None:
        try:
            ask()
        except (SorbusError, httpx.HTTPError, httpx.InvalidURL) as error:
            known = self._away.get(name)
            since = known.since if known else time.time()
            self._away[name] = Problem("dependency", name, "unreachable", since, str(error))
        else:
            self._away.pop(name, None)


def _ask_registry(settings: Settings) -> None:
    """Raises unless the registry answers, whatever it says of itself."""
    url, trusted = settings.registry, registry_certificates(settings)
    try:
        with httpx.Client(timeout=_WHOLE, verify=trusted) as client, bounded.within(_WHOLE):
            asked = client.build_request("GET", f"{url.rstrip('/')}/config")
            answer, _ = bounded.read(client, asked, largest=_LARGEST)
    except httpx.TransportError as error:
        where = way_to(httpx.URL(url))
        raise TransientError(f"{where} can't be reached: {connection_words(error)}") from error
    except (bounded.TooLarge, bounded.UnknownEncoding) as error:
        where = httpx.URL(url).netloc.decode()
        raise TransientError(f"{where} answers more than a schema registry does; see SORBUS_REGISTRY") from error
    if answer.status_code >= 500:
        raise TransientError(f"it answers {answer.status_code}")
