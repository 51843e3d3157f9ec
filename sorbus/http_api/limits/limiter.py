"""A system's rate limits, shared by all processes: consulted before each request, updated from each answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import monotonic

from sorbus.http_api.description import Limit
from sorbus.http_api.limits.reset import until_reset
from sorbus.state import State
from sorbus.telemetry.metrics import API_WAIT

LONGEST_BLOCK = 86_400.0
"""Seconds; a longer Retry-After is reduced to this."""
_LONG = 10.0
"""Seconds; a longer wait may come from a clock that was ahead."""


class Limiter:
    """One flow's share of a system's limits. Thread-safe; errors as in `State.connection`.

    No window ever exceeds its limit; flows that all have work get equal shares, and the others get what one doesn't
    use.
    """

    def __init__(
        self, state: State, system: str, limits: Sequence[Limit], *, flow: str, background: bool = False
    ) -> None:
        """`background`: others that wait get five requests for each of its own, and half of each window of an hour or
        more is theirs alone.
        """
        self._state, self._system, self._flow, self._background = state, system, flow, background
        self._limits = tuple(limits)
        self._requests = [limit.requests for limit in limits]
        self._seconds = [limit.per.total_seconds() for limit in limits]
        self._told: dict[str, float] = {}
        self._waited = API_WAIT.labels(system, flow)

    def take(self, *, patience: float) -> float:
        """0.0: taken, go. Otherwise the seconds until the next try, which may exceed `patience`.

        `patience`: seconds the caller would wait here; others don't wait for a caller that would not wait.
        """
        wait = self._take(patience)
        if wait > _LONG and self._state.run(b"select rate_put_right(%s)", (self._system,)) == [(True,)]:
            wait = self._take(patience)
        if 0 < wait <= patience:
            self._waited.inc(wait)
        return wait

    def _take(self, patience: float) -> float:
        values = (self._system, self._flow, self._requests, self._seconds, patience, self._background)
        ((wait,),) = self._state.run(b"select rate_take(%s, %s, %s::int[], %s::float8[], %s, %s)", values)
        assert isinstance(wait, float)
        return wait

    def heard(self, status: int, headers: Mapping[str, str], retry_after: float | None) -> None:
        """Applies an answer's limits for every process. `retry_after` in seconds, if it was given."""
        wait: float | None = None
        if status == 429 and retry_after is None:
            retry_after = until_reset(headers, [limit.reset_header for limit in self._limits if limit.reset_header])
        if status == 429 and retry_after is not None:  # a 503 is about one URL: only its caller waits
            wait = min(max(retry_after, 0.0), LONGEST_BLOCK)
        elif status == 429:
            wait = -min(max(min(self._seconds, default=1.0) / 10, 0.1), 5.0)
        left = self._remaining(headers)
        if wait is None and not left:
            return
        values = (self._system, wait, list(left), list(left.values()))
        self._state.run(b"select rate_heard(%s, %s::float8, %s::float8[], %s::int[])", values)

    def _remaining(self, headers: Mapping[str, str]) -> dict[float, int]:
        """Seconds of a window -> requests left, if worth recording: near its end, or once a second."""
        named = [limit for limit in self._limits if limit.remaining_header]
        if not named:
            return {}
        lower = {name.lower(): value.strip() for name, value in headers.items()}
        found: dict[float, int] = {}
        for limit in named:
            text = lower.get(limit.remaining_header.lower(), "")
            if not text.isdecimal():
                continue
            left, now = int(text), monotonic()
            if left < limit.requests / 10 or now - self._told.get(limit.remaining_header, -1.0) >= 1.0:
                self._told[limit.remaining_header] = now
                found[limit.per.total_seconds()] = left
        return found
