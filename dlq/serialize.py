"""A letter, a group of letters, as people and other programs are shown them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from sorbus.audit import AuditEntry
from sorbus.dlq.dry_run import Difference, DryRunResult
from sorbus.dlq.letter_mask import LetterMask
from sorbus.dlq.store import Group, Letter


def letter_json(letter: Letter) -> dict[str, object]:
    """Everything but the bytes."""
    dead = letter.dead
    return {
        "id": letter.id,
        "data_type": dead.data_type,
        "record": letter.record,
        "version": letter.version,
        "flow": dead.flow,
        "system": dead.system,
        "cause": letter.cause,
        "reason": dead.reason,
        "field": dead.field,
        "rule": dead.rule,
        "message": dead.message,
        "words": dead.words,
        "topic": dead.topic,
        "partition": dead.partition,
        "offset": dead.offset,
        "attempts": dead.attempts,
        "first_at": letter.first_at.isoformat(),
        "last_at": letter.last_at.isoformat(),
        "state": letter.state,
        "state_at": letter.state_at.isoformat(),
        "superseded_by": letter.superseded_by,
        "assigned_to": letter.assigned_to,
        "edited": letter.is_edited,
    }


def group_json(group: Group) -> dict[str, object]:
    """One cause."""
    return {
        "cause": group.cause,
        "count": group.count,
        "under_way": group.under_way,
        "data_type": group.data_type,
        "flow": group.flow,
        "system": group.system,
        "reason": group.reason,
        "field": group.field,
        "rule": group.rule,
        "example": group.example,
        "message": group.message,
        "words": group.words,
        "first_at": group.first_at.isoformat(),
        "last_at": group.last_at.isoformat(),
    }


def foreseen_json(one: DryRunResult) -> dict[str, object]:
    """What a requeue would do to one letter."""
    return {
        "id": one.letter.id,
        "record": one.letter.record,
        "action": one.action,
        "why": one.why,
        "request": one.request,
    }


def difference_json(one: Difference) -> dict[str, object]:
    """One field of the target beside the letter's."""
    return {**one._asdict(), "now": _plain(one.now), "letter": _plain(one.letter)}


def entry_json(entry: AuditEntry) -> dict[str, str]:
    """What somebody did."""
    return {"at": entry.at.isoformat(), "who": entry.who, "action": entry.action, "reason": entry.reason}


def masked_letter(mask: LetterMask, letter: Letter) -> Letter:
    """The letter with what is said of its record masked."""
    return replace(letter, dead=mask.letter(letter.dead))


def where(flow: str, system: str) -> str:
    """The flow that could not deliver, or the system that could not be read."""
    return flow or f"from {system}"


def moment(at: datetime) -> str:
    """A point in time as tables show it (UTC)."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float | str | list | dict) else str(value)
