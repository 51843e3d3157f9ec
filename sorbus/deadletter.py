"""A dead letter: a record that can't be delivered, its bytes unchanged, and everything a person needs to fix it.

It is one message on `<data type>.dlq`, keyed by the dead letter's id, so that a redelivery doesn't create a second one;
a message without a value closes it. Headers have the names that Kafka Connect uses (KIP-298), so that existing tools
read them, plus our own.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from sorbus.errors import PermanentError

Headers = list[tuple[str, bytes]]

_OWN = "sorbus."
_CONNECT = "__connect.errors."
LETTER = "sorbus.letter"
"""On a requeued message: the id of the dead letter that it closes once delivered."""
FILED = "sorbus.filed"
"""On a flow's requeue topic: a replay, or another process, has filed dead letters or waiting records of the flow."""
CLOSED = "sorbus.closed"
"""On a message that closes a dead letter: `requeued` (delivered), `superseded`, `discarded` or `forgotten`."""
CLOSED_BY = "sorbus.closed_by"
"""With `superseded`: the version of the record that made the dead letter obsolete."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter. `flow` is empty if the source's row could not be made canonical; times in microseconds, UTC."""

    id: str
    data_type: str
    system: str
    flow: str
    reason: str
    message: str
    field: str
    rule: str
    words: str
    topic: str
    partition: int
    offset: int
    attempts: int
    first_at: int
    last_at: int
    record_id: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()

    @classmethod
    def refused(
        cls,
        error: PermanentError,
        *,
        data_type: str,
        system: str,
        flow: str = "",
        origin: tuple[str, int, int],
        record_id: bytes,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] = (),
        id: str | None = None,
        before: DeadLetter | None = None,
    ) -> DeadLetter:
        """A dead letter for `error`; `before` is its previous state if it was requeued and failed again."""
        now = time.time_ns() // 1000
        topic, partition, offset = origin
        made = cls(
            id or f"{flow or system}:{topic}:{partition}:{offset}",
            data_type,
            system,
            flow,
            error.reason,
            str(error),
            error.field or "",
            error.rule or "",
            error.words or "",
            topic,
            partition,
            offset,
            1,
            now,
            now,
            record_id,
            value,
            tuple((name, content or b"") for name, content in headers if not name.startswith((_OWN, _CONNECT))),
        )
        if before is None:
            return made
        origin_before = replace(
            made, id=before.id, topic=before.topic, partition=before.partition, offset=before.offset
        )
        return origin_before.again(before.attempts, before.first_at)

    @property
    def cause(self) -> str:
        """What dead letters of one cause share, 12 hexadecimal digits: place, reason, field and rule."""
        told = [self.data_type, self.flow or self.system, self.reason, self.field, self.rule]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]

    def again(self, attempts: int, first_at: int) -> Self:
        """The dead letter after one more attempt: `attempts` before it, the first at `first_at`."""
        return replace(self, attempts=attempts + 1, first_at=first_at)

    def to_headers(self) -> Headers:
        """The dead letter's headers: the record's own, then Kafka Connect's, then ours."""
        connect = {
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "connector.name": self.flow or self.system,
            "task.id": 0,
            "stage": "VALUE_CONVERTER" if not self.flow or "schema" in self.reason else "TASK_PUT",
            "exception.class.name": f"sorbus.errors.PermanentError.{self.reason}",
            "exception.message": self.message,
        }
        own = {
            "data_type": self.data_type,
            "system": self.system,
            "flow": self.flow,
            "reason": self.reason,
            "field": self.field,
            "rule": self.rule,
            "words": self.words,
            "attempts": self.attempts,
            "first_at": self.first_at,
            "last_at": self.last_at,
        }
        return [
            *self.headers,
            *((_CONNECT + name, _bytes(value)) for name, value in connect.items()),
            *((_OWN + name, _bytes(value)) for name, value in own.items()),
            (f"{_OWN}record_id", self.record_id),
        ]

    @classmethod
    def from_message(cls, key: bytes, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]) -> Self:
        """Reads a dead letter; what a foreign message lacks stays empty."""
        found = {name: content or b"" for name, content in headers}

        def text(name: str) -> str:
            return found.get(name, b"").decode(errors="replace")

        def number(name: str) -> int:
            try:
                return int(text(name))
            except ValueError:
                return 0

        return cls(
            key.decode(errors="replace"),
            text(f"{_OWN}data_type"),
            text(f"{_OWN}system"),
            text(f"{_OWN}flow"),
            text(f"{_OWN}reason"),
            text(f"{_CONNECT}exception.message"),
            text(f"{_OWN}field"),
            text(f"{_OWN}rule"),
            text(f"{_OWN}words"),
            text(f"{_CONNECT}topic"),
            number(f"{_CONNECT}partition"),
            number(f"{_CONNECT}offset"),
            number(f"{_OWN}attempts"),
            number(f"{_OWN}first_at"),
            number(f"{_OWN}last_at"),
            found.get(f"{_OWN}record_id", b""),
            value,
            tuple((name, content or b"") for name, content in headers if not name.startswith((_OWN, _CONNECT))),
        )


def _bytes(value: object) -> bytes:
    """A header's bytes; lone surrogates in a quoted message are escaped, so that any dead letter can be written."""
    return str(value).encode("utf-8", "backslashreplace")
