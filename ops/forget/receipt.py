"""The receipt of an erasure: what was erased where, what is left and until when, signed by a hash of all it says.

It holds the record's id in the clear, since it must name what was asked for, and no other value of the record.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime

OUTSIDE = (
    "backups and the write-ahead log of Kafka's, the state's and the targets' servers: they keep what was there until"
    " they are overwritten or expire",
    "the logs of other systems, and copies that people made",
)


@dataclass(frozen=True, slots=True)
class Done:
    """Something of the record that was erased (in a dry run: would be): where, what, how many."""

    where: str
    what: str
    count: int


@dataclass(frozen=True, slots=True)
class Left:
    """Something that is left. `do`: what a person must do; empty where it goes by itself, `until` when (ISO 8601)."""

    where: str
    what: str
    do: str = ""
    until: str = ""


@dataclass(slots=True)
class Receipt:
    """One erasure."""

    data_type: str
    id: str
    who: str
    reason: str
    began_at: datetime
    dry_run: bool
    erased: list[Done] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    ended_at: datetime | None = None
    was_seen: bool = True
    """Whether its topic has any event of it."""
    version: int | None = None
    """Its highest on the topic: nothing brings back states up to it (`sorbus.erased`)."""

    @property
    def complete(self) -> bool:
        """Whether nothing is left that a person has to do."""
        return not any(left.do for left in self.left)

    def content(self) -> dict[str, object]:
        """Everything it says, as JSON; `hash` is of the rest (SHA-256 of compact JSON with sorted keys, in UTF-8)."""
        said: dict[str, object] = {
            "receipt": "sorbus erasure 1",
            "data_type": self.data_type,
            "id": self.id,
            "who": self.who,
            "reason": self.reason,
            "began_at": self.began_at.isoformat(),
            "ended_at": self.ended_at.isoformat() if self.ended_at else None,
            "dry_run": self.dry_run,
            "complete": self.complete,
            "was_seen": self.was_seen,
            "version": self.version,
            "erased": [asdict(done) for done in self.erased],
            "left": [asdict(left) for left in self.left],
            "outside_sorbus": list(OUTSIDE),
        }
        return {**said, "hash": content_hash(said)}

    def lines(self) -> Iterator[str]:
        """The same for people."""
        would = "would be erased" if self.dry_run else "erased"
        yield f"{self.data_type} {self.id}, asked for by {self.who}{f': {self.reason}' if self.reason else ''}"
        some = [done for done in self.erased if done.count]
        for done in some:
            yield f"  {would}: {done.where}: {done.what} ({done.count})"
        if not some:
            yield "  nothing of it was left to erase"
        if not self.was_seen:
            yield "  its topic has no event of it: if that is unexpected, see that the id is as its owner writes it"
        for left in self.left:
            if left.do:
                yield f"  TO DO: {left.where}: {left.what}: {left.do}"
            else:
                yield f"  expires automatically{f' by {left.until}' if left.until else ''}: {left.where}: {left.what}"
        for outside in OUTSIDE:
            yield f"  outside Sorbus: {outside}"


def content_hash(content: dict[str, object]) -> str:
    """The hash that a receipt with this content carries; `hash` itself doesn't count."""
    rest = {name: value for name, value in content.items() if name != "hash"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
