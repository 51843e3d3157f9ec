"""What people did, written in one transaction with the action, and never changed afterwards.

An entry names a subject (a dead letter, a duplicate candidate, a flow ...) and, where it is about one, the record. It
holds no value of a record: not in `details`, and `reason` is what a person wrote. An action on many subjects is one
entry with a part for each; pages list the entry, or its parts when filtered by one subject or record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple, cast

from psycopg import sql
from psycopg.types.json import Jsonb
from pydantic import JsonValue

from sorbus.postgres.connection import Connection
from sorbus.state.database import State

_FOLDER = Path(__file__).parent / "sql"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One action of a person. `part_of`: the number of the entry that this one is a part of."""

    number: int
    at: datetime
    who: str
    action: str
    subject_kind: str
    subject: str
    data_type: str
    record: str
    reason: str
    details: Mapping[str, JsonValue]
    part_of: int | None


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Selects entries that match every non-empty field."""

    who: str = ""
    action: str = ""
    subject_kind: str = ""
    subject: str = ""
    data_type: str = ""
    record: str = ""


class AuditPart(NamedTuple):
    """One of the subjects of an action, and the record it is about."""

    subject: str
    data_type: str = ""
    record: str = ""


class AuditTrail:
    """A map's audit trail. Raises TransientError and AuthError, as `State` does."""

    def __init__(self, state: State) -> None:
        self._state = state

    def note(
        self,
        who: str,
        action: str,
        subject_kind: str,
        subject: str,
        *,
        data_type: str = "",
        record: str = "",
        reason: str = "",
        details: Mapping[str, JsonValue] | None = None,
    ) -> int:
        """Writes an entry in its own transaction; returns the entry's number."""
        with self._state.connection() as connection:
            return self.note_in(
                connection,
                who,
                action,
                subject_kind,
                subject,
                data_type=data_type,
                record=record,
                reason=reason,
                details=details,
            )

    def note_in(
        self,
        connection: Connection,
        who: str,
        action: str,
        subject_kind: str,
        subject: str,
        *,
        data_type: str = "",
        record: str = "",
        reason: str = "",
        details: Mapping[str, JsonValue] | None = None,
        part_of: int | None = None,
    ) -> int:
        """Writes an entry in the action's transaction; returns the entry's number."""
        texts = {
            "who": who,
            "action": action,
            "subject_kind": subject_kind,
            "subject": subject,
            "data_type": data_type,
            "record": record,
            "reason": reason,
        }
        values = {name: text.replace("\0", "\ufffd") for name, text in texts.items()}
        row = connection.execute(
            _statement("note"), {**values, "details": Jsonb(dict(details or {})), "part_of": part_of}
        ).fetchone()
        assert row is not None
        return cast("int", row[0])

    def note_parts(self, connection: Connection, whole: int, subject_kind: str, parts: Sequence[AuditPart]) -> None:
        """Writes one entry for each subject of an action; `whole` is the action's entry."""
        columns = zip(*parts, strict=True) if parts else ((), (), ())
        subjects, data_types, records = ([text.replace("\0", "\ufffd") for text in column] for column in columns)
        connection.execute(
            _statement("parts").encode(),
            {
                "whole": whole,
                "subject_kind": subject_kind,
                "subjects": subjects,
                "data_types": data_types,
                "records": records,
            },
        )

    def page(self, before: int | None = None, most: int = 100, filter: AuditFilter | None = None) -> list[AuditEntry]:
        """Entries, newest first; `before`: only those with lower numbers, for the next page."""
        wanted = filter or AuditFilter()
        asked = {each.name: value for each in fields(wanted) if (value := getattr(wanted, each.name))}
        conditions: list[sql.Composable] = [
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in asked
        ]
        if not (wanted.subject or wanted.record):
            conditions.append(sql.SQL("part_of is null"))
        if before is not None:
            conditions.append(sql.SQL("number < %(before)s"))
        query = sql.SQL(_statement("page")).format(conditions=sql.SQL(" and ").join(conditions or [sql.SQL("true")]))
        with self._state.connection() as connection:
            rows = connection.execute(query, {**asked, "before": before, "most": most}).fetchall()
        return [AuditEntry(*row) for row in rows]  # type: ignore[arg-type]


@cache
def _statement(name: str) -> str:
    return (_FOLDER / f"{name}.sql").read_text("utf-8")
