"""What a topic was when it was written to: another one, or other keys, and newer states don't replace older ones."""

from __future__ import annotations

from typing import NamedTuple


class TopicIdentity(NamedTuple):
    """Kafka's id of the topic, its number of partitions, and a digest of how keys are written there.

    0 and "": not known, as in what earlier releases kept.
    """

    id: str
    partitions: int = 0
    keys: str = ""

    @classmethod
    def read(cls, text: str) -> TopicIdentity:
        """What `text` returned."""
        id, partitions, keys = [*text.split(" "), "", ""][:3]
        return cls(id, int(partitions or 0), keys)

    def text(self) -> str:
        """For the state."""
        return f"{self.id} {self.partitions} {self.keys}"

    def why_other(self, now: TopicIdentity) -> str:
        """How the same topic would be written otherwise than before; "" if it wouldn't, as far as is known."""
        if self.partitions and now.partitions and now.partitions != self.partitions:
            return f"it has {now.partitions} partitions and had {self.partitions}, and keys move between them"
        if self.keys and now.keys and now.keys != self.keys:
            return "its keys would be written in another form (`key`, `key_type`, `encoding`, or the registry's id)"
        return ""
