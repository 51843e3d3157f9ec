"""What a replay did, or would do."""

from __future__ import annotations

from dataclasses import dataclass, field

from sorbus.ops.replay.job import ReplayCounts


@dataclass(slots=True)
class ReplayOutcome:
    """The counts, and `words` for people; `more` are further figures by name."""

    flow: str
    counts: ReplayCounts
    words: str
    has_findings: bool = False
    more: dict[str, object] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """The counts by name."""
        return {"flow": self.flow, **self.counts._asdict(), **self.more}
