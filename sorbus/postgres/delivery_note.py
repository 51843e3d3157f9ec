"""A note in PostgreSQL's log that tells which records a transaction of Sorbus's brings, and in which version.

With it the producer of a two-way system tells what Sorbus wrote from what others did, whatever the database made of
it: triggers, rounding, trimming. Source: PostgreSQL documentation, 9.28.6 "Replication Management Functions"
(`pg_logical_emit_message`) and 54.9 "Logical Replication Message Formats".
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from sorbus.postgres.connection import Connection

PREFIX = "sorbus.delivered"
_HEAD = b"M\1"
_PREFIX = PREFIX.encode() + b"\0"
Delivered = Mapping[bytes, int]
"""Id -> the version that was brought."""


def write_note(session: Connection, topic: str, delivered: Delivered) -> None:
    """Notes it in the transaction in progress. `topic`: of what the system shows."""
    content = json.dumps({"topic": topic, "versions": {id.decode(): version for id, version in delivered.items()}})
    session.execute("select pg_logical_emit_message(true, %s, %s::text)", (PREFIX, content))


def read_note(message: bytes) -> tuple[str, Delivered] | None:
    """The topic and the records of a pgoutput message; None for every other message, or one that isn't ours."""
    if message[:2] != _HEAD or message[10 : 10 + len(_PREFIX)] != _PREFIX:
        return None
    try:
        found = json.loads(message[14 + len(_PREFIX) :])
        return str(found["topic"]), {str(id).encode(): int(version) for id, version in found["versions"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
