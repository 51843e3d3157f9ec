"""Where each producer resumes: stored on the bus, in the same transaction as the events before it."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

from sorbus.bus.kafka import (
    all_partitions,
    bytes_of,
    kafka_errors,
    offset_of,
    partition_of,
    read_to_end,
    topic_reader,
)
from sorbus.bus.names import Names
from sorbus.connector import Position
from sorbus.errors import TransientError
from sorbus.settings import Settings

_log = logging.getLogger(__name__)


def read_positions(settings: Settings, names: Names, through: Sequence[int] = ()) -> dict[str, Position]:
    """The last committed position of every system whose producer has ever published. TransientError.

    Call it after the producer's `init_transactions`, which completes a predecessor's open transaction. `through`: where
    the topic's partitions end by now: behind a transaction that another producer has left open Kafka shows nothing, and
    what was committed there is waited for.
    """
    shown = {(names.positions, number): end for number, end in enumerate(through)}
    consumer = topic_reader(settings, "positions")
    found: dict[str, Position] = {}
    try:
        partitions = all_partitions(consumer, names.positions)
        if not partitions:
            raise TransientError(f"there is no topic {names.positions} yet; run `sorbus apply`")
        for message in read_to_end(consumer, partitions, through=shown):
            system, value = bytes_of(message.key()).decode(errors="replace"), message.value()
            if value is None:
                found.pop(system, None)
            elif (position := opened_position(bytes_of(value))) is not None:
                found[system] = position
            else:
                _log.warning(
                    "%s holds a message that no producer wrote, and is read without it: key %r, offset %d of partition"
                    " %d",
                    names.positions,
                    system[:100],
                    offset_of(message),
                    partition_of(message)[1],
                )
    finally:
        with kafka_errors("closing a reader"):
            consumer.close()
    return found


def opened_position(value: bytes) -> Position | None:
    """A stored position; None for what no producer wrote, which must stop neither producers nor their monitors."""
    try:
        found = json.loads(value)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def position_message(names: Names, system: str, position: Position) -> tuple[str, bytes, bytes]:
    """Topic, key and value of a stored position."""
    return names.positions, system.encode(), json.dumps(position, separators=(",", ":")).encode()
