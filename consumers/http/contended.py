"""A record that the application won't have written, however often it is read again: its own dead letter, not a stop."""

from __future__ import annotations

from sorbus.errors import Contended, MustWait, PermanentError, Unshown

_LONGEST = 30.0
"""Seconds that a locked record waits aside before it is a dead letter; more where the application says so."""
_FIXES = {
    409: "another program changes it all the time, or its state there takes no change: look at it in {system}",
    412: (
        "the ETag that {system} gives isn't the one it wants back (a proxy between may change it), or another program"
        " changes the record all the time: write `etag: false` in its description, or stop that program"
    ),
    423: "it is locked there: have whoever holds the lock release it",
    425: "requests come too early for it: see what is between it and Sorbus (a proxy with early data)",
}

_UNSHOWN = "see in {system} whether it has these values"


def given_up(error: Contended, system: str) -> PermanentError:
    """The dead letter of a record that was read again and refused three times; where time may help it waits before."""
    is_unsure = isinstance(error, Unshown)
    fix = (_UNSHOWN if is_unsure else _FIXES.get(error.status, _FIXES[409])).format(system=system)
    said = f"{error}, three times, each right after it was read again; {fix}, then `sorbus dlq requeue`"
    refused = PermanentError(said, reason="refused", words=error.words or None, status=error.status)
    if error.status == 412 and error.retry_after is None:
        return refused
    limit = None if is_unsure else max(_LONGEST, 2 * (error.retry_after or 0.0))
    return MustWait(
        f"{error}; it will be retried while other records continue", why="reference", limit=limit, refused=refused
    )
