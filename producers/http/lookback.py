"""How often a poll begins before its cursor, where that means to read very many records again; no I/O.

A poll begins some time before the cursor, since changes may become visible late. After a bulk edit a hundred thousand
records may lie there, and read at every poll they use up a vendor's daily requests. So such a read that brought nothing
is done again more and more seldom; in between polls ask for what is newer than the cursor alone.
"""

from __future__ import annotations

from sorbus.producers.polling.poll_state import PollState, Quiet, Rules

_SECOND = 1_000_000
_RESOLUTIONS = ((_SECOND, _SECOND), (60 * _SECOND, _SECOND), (3600 * _SECOND, 60 * _SECOND))
_FEW_REQUESTS = 3
_TIMES_COST = 10
_MOST_DOUBLINGS = 4
_MARGIN = 60 * _SECOND
_NEVER = 10 * 365 * 86_400 * _SECOND


class Lookback:
    """Decides where one poll for changes begins, and learns from how it went."""

    def __init__(self, rules: Rules, state: PollState, now: int) -> None:
        """`now` by our clock, in microseconds."""
        self._rules, self._state, self._began = rules, state, now
        self._cursor = state.cursor or 0
        quiet = state.quiet
        self.is_full = quiet is None or now >= quiet.next_at
        """Whether it begins before the cursor."""
        self.requests = self.found = 0

    @property
    def since(self) -> int | None:
        """Where to begin; None: not at all this time, since {since} is too coarse to ask for less."""
        rules = self._rules
        if self.is_full:
            return rules.written(self._cursor - rules.overlap)
        if rules.grain > _SECOND:
            return None
        over = self._cursor % rules.grain
        return self._cursor - over + (rules.grain if over or rules.inclusive else 0)

    def end(self, now: int) -> None:
        """The poll has come to its end."""
        state, quiet = self._state, self._state.quiet
        has_moved = (state.cursor or 0) != self._cursor
        if self.is_full:
            if self.found or self.requests <= _FEW_REQUESTS:
                state.quiet = None
                return
            passes = 1 if quiet is None or has_moved else quiet.passes + 1
            first_at = self._began if quiet is None or has_moved else quiet.first_at
            cost = max(now - self._began, self.requests * 10_000)
            state.quiet = Quiet(passes, cost, first_at, self._next_at(passes, cost, first_at, now))
        elif quiet is not None and (self.found or has_moved):
            next_at = min(quiet.next_at, now + _TIMES_COST * quiet.cost)
            state.quiet = Quiet(0, quiet.cost, now, next_at)

    def _next_at(self, passes: int, cost: int, first_at: int, now: int) -> int:
        """When to begin before the cursor again; far away once nothing of the cursor's moment can still come.

        How long that lasts is measured by our own clock from when we saw it first, for theirs may be any.
        """
        soon = now + _TIMES_COST * cost * 2 ** min(passes - 1, _MOST_DOUBLINGS)
        can_ask_for_less = self._rules.grain <= _SECOND
        lasts = self._rules.overlap + _resolution(self._cursor) + _MARGIN
        return soon if not can_ask_for_less or now < first_at + lasts else now + _NEVER


def _resolution(moment: int) -> int:
    """The coarsest step that a clock which shows this moment may have: a second, a minute, an hour or a day."""
    for step, resolution in _RESOLUTIONS:
        if moment % step:
            return resolution
    return 3600 * _SECOND if moment % (86_400 * _SECOND) else 86_400 * _SECOND
