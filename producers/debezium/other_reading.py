"""Where a topic isn't the one that was read, or the map makes something else of it than when it was read."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import cast

from sorbus.connector import BoundSystem
from sorbus.errors import LostPosition
from sorbus.producers.debezium.topic_stream import TopicStream

_log = logging.getLogger(__name__)


def lost(why: str) -> str:
    """What to tell a person of another topic."""
    return (
        f"{why}, so that changes may be missing: have Debezium take a snapshot again (a signal, or a"
        " new connector), and write `on_lost_slot: resnapshot` under the system in the map to read the topic from its"
        " beginning; records that were deleted in between stay, since no message tells of them"
    )


def lose(system: BoundSystem, why: str) -> None:
    """LostPosition of another topic, unless the map says to read it from its beginning."""
    if system.system.on_lost_slot != "resnapshot":
        raise LostPosition(lost(why))
    _log.warning("%s: %s: it is read from its beginning; deleted records may stay", system.name, why)


def is_read_otherwise(stream: TopicStream, stored: Mapping[str, object]) -> bool:
    """Whether a data type was not read from the topic, or by another mapping; False where the position doesn't say."""
    return "meaning" in stored and cast("dict[str, str]", stored["meaning"]).get(stream.name) != stream.meaning


def former_key(stream: TopicStream, stored: Mapping[str, object], *, reads_again: bool) -> list[str] | None:
    """By which key a data type was published, where that is another. LostPosition unless all is read again."""
    before = cast("dict[str, list[str]]", stored.get("keys") or {}).get(stream.name)
    if before is None or before == [*stream.options.key]:
        return None
    if reads_again:
        return before
    former, other = (
        f"the key {', '.join(key)}" if key else "the messages' own key" for key in (before, stream.options.key)
    )
    raise LostPosition(
        f"the records of {stream.name} were published by {former}. By {other} each has another id, and those with the"
        f" former ids would stay in every target: put the key back; or, if {stream.options.topic} still tells of every"
        " record that is there (it is compacted, and lost nothing), write `on_lost_slot: resnapshot` under the system"
        " in the map and start it once: all is read again, and what has a former id is deleted"
    )
