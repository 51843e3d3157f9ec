"""What the stream repeats from before the position must be what was read then, or the server has another history."""

from __future__ import annotations

from sorbus.errors import LostPosition
from sorbus.producers.postgres.pgoutput import lsn_text
from sorbus.producers.postgres.position import CommitSeen


class RepeatedCommits:
    """One stream's. `owed`: the last transaction that was read, until a stream that begins before it has shown it."""

    def __init__(self, last: CommitSeen | None, start: int) -> None:
        """`start`: the LSN from which the stream is read."""
        self.owed = last if last is not None and start < last.end else None

    def repeated(self, seen: CommitSeen, last: CommitSeen | None) -> None:
        """A transaction from before the position, which ended with `last`. LostPosition where it is another one."""
        if self.owed is not None and seen.end >= self.owed.end:
            if seen != self.owed:
                raise LostPosition(_forked(self.owed))
            self.owed = None
        elif last is not None and seen.end > last.end:
            raise LostPosition(_forked(seen))

    def passed(self) -> None:
        """The stream is past the position. LostPosition where what was read before wasn't in it."""
        if self.owed is not None:
            raise LostPosition(_forked(self.owed))


def _forked(seen: CommitSeen) -> str:
    return (
        f"around {lsn_text(seen.end)} the server's log has other transactions than were read before: it was restored to"
        " an earlier state and has gone another way since"
    )
