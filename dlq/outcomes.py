"""What came of an action on dead letters, and why one can't be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sorbus.audit import AuditEntry
from sorbus.dlq.reader import Decoded
from sorbus.dlq.store import Letter
from sorbus.errors import SorbusError


@dataclass(frozen=True, slots=True)
class Requeued:
    """What was sent back, oldest first; `reread`: system -> how many of its rows it is asked for once more.

    `stranded`: how many were left, since the map doesn't run their flows any more.
    """

    ids: tuple[str, ...]
    reread: Mapping[str, int]
    stranded: int = 0


@dataclass(frozen=True, slots=True)
class Discarded:
    """How many letters were closed, and how many were left because they are on their way back to their flow."""

    count: int
    on_their_way: int


@dataclass(frozen=True, slots=True)
class OpenedLetter:
    """A letter as a person may see it. `raw`: its bytes, None where `is_masked` or where it is closed."""

    letter: Letter
    decoded: Decoded
    raw: bytes | None
    is_masked: bool
    history: tuple[AuditEntry, ...]


def changed_meanwhile(id: str) -> SorbusError:
    """Of an edit, where somebody else did something to the letter since it was shown."""
    return SorbusError(f"{id} has changed meanwhile, so nothing was sent: look at it again, then edit it")


def closed_or_unknown(id: str, closed: Letter | None = None) -> SorbusError:
    """Why nothing can be done with a letter: it is `closed`, or there is none."""
    if closed is not None:
        return SorbusError(f"{id} is closed: it was {closed.state} at {closed.state_at:%Y-%m-%d %H:%M} UTC")
    return SorbusError(f"no open dead letter is called {id!r}; see `sorbus dlq list`")
