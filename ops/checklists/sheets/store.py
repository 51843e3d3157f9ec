"""Prepared sheets, answers and confirmed records, in the state database."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import NamedTuple, cast

from psycopg.types.json import Json, Jsonb
from pydantic import JsonValue

from sorbus.audit import AuditTrail
from sorbus.ops.checklists.sheets.answers import PreparedRow, RowAnswer
from sorbus.ops.checklists.sheets.changes import ConfirmedRecord, FieldValue, ManualChange, OwnerRecord, TargetFields
from sorbus.ops.checklists.sheets.figures import RECORDS, Totals
from sorbus.ops.checklists.sheets.prepared_sheet import PreparedSheet
from sorbus.postgres.connection import Connection
from sorbus.state import State

_FOLDER = Path(__file__).parent / "sql"
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""Without vowels, so that no code is a word or a month."""
_CODE_LENGTH = 6


class KnownRows(NamedTuple):
    """`prepared`: the flow's rows by row code; `numbers`: which record has which number in the target."""

    prepared: Mapping[str, PreparedRow]
    numbers: Mapping[str, str]


class SheetStore:
    """One flow's. Every call may raise TransientError or AuthError, as `State` does."""

    def __init__(self, state: State, flow: str, data_type: str) -> None:
        self._state, self._flow, self._data_type = state, flow, data_type

    def confirmed(self) -> dict[str, ConfirmedRecord]:
        """What is confirmed of each record."""
        rows = self._state.run(_statement("confirmed"), {"flow": self._flow})
        return {
            str(id): ConfirmedRecord(fields_of(fields), str(number), bool(again), cast("int", sheet))
            for id, fields, number, again, sheet in rows
        }

    def newest(self) -> PreparedSheet | None:
        """The newest sheet."""
        for row in self._state.run(_statement("newest"), {"flow": self._flow}):
            sheet, code, round, at, who, figures, closed, *counts = row
            return PreparedSheet(
                cast("int", sheet),
                str(code),
                cast("datetime", round),
                cast("datetime", at),
                str(who),
                totals_from(cast("dict[str, str]", figures)),
                cast("datetime | None", closed),
                *cast("list[int]", counts),
            )
        return None

    def add(
        self,
        round: datetime,
        who: str,
        owner: Totals,
        rows: Sequence[ManualChange],
        *,
        more: int = 0,
        left_out: int = 0,
    ) -> PreparedSheet:
        """Keeps a sheet, and gives it its code. `more`, `left_out`: what it doesn't list."""
        written = {name: format(value, "f") for name, value in owner.by_name().items()}
        with self._state.connection() as connection:
            added = None
            while added is None:
                code = "".join(secrets.choice(_LETTERS) for _ in range(_CODE_LENGTH))
                values = {"code": code, "flow": self._flow, "round": round, "who": who, "figures": Jsonb(written)}
                values |= {"more": more, "left_out": left_out}
                added = connection.execute(_statement("add_sheet"), values).fetchone()
            sheet, at = cast("tuple[int, datetime]", added)
            with connection.cursor() as cursor:
                cursor.executemany(_statement("add_row"), [self._row(sheet, n, row) for n, row in enumerate(rows, 1)])
            self._note(connection, who, "prepare", {"sheet": code, "rows": len(rows)})
        return PreparedSheet(sheet, code, round, at, who, owner, None, len(rows), 0, 0, more, left_out)

    def has_any(self, codes: Collection[str]) -> bool:
        """Whether one of these sheets is of this flow; one without changes has no row."""
        return bool(self._state.run(_statement("sheets"), {"flow": self._flow, "codes": list(codes)}))

    def not_done(self) -> dict[str, str]:
        """Records whose last answer was that it is not done -> why."""
        return {str(id): str(reason) for id, reason in self._state.run(_statement("not_done"), {"flow": self._flow})}

    def known(self, codes: Collection[str], numbers: Collection[str]) -> KnownRows:
        """What is recorded of these sheets, for a judgement that records nothing."""
        with self._state.connection() as connection:
            return self._known(connection, codes, numbers)

    def _known(self, connection: Connection, codes: Collection[str], numbers: Collection[str]) -> KnownRows:
        rows = connection.execute(_statement("rows"), {"flow": self._flow, "codes": list(codes)}).fetchall()
        found = {}
        for sheet, code, number, id, before, after, outcome, reason, target, closed in rows:
            found[f"{code}-{number}"] = PreparedRow(
                cast("int", sheet),
                str(code),
                cast("int", number),
                str(id),
                fields_of(before),
                fields_of(after),
                cast("None", outcome),
                str(reason),
                str(target),
                bool(closed),
            )
        given = connection.execute(_statement("numbers"), {"flow": self._flow, "numbers": list(numbers)}).fetchall()
        return KnownRows(found, {str(number): str(id) for number, id in given})

    def record(
        self,
        codes: Collection[str],
        numbers: Collection[str],
        judge: Callable[[KnownRows], Iterable[RowAnswer]],
        who: str,
        file: str,
    ) -> list[RowAnswer]:
        """Records what `judge` makes of these sheets' rows, and returns those that a newer sheet had overtaken.

        One transaction, which no other import of the flow runs beside: two people may answer a row at a time.
        """
        overtaken = []
        counts = {"done": 0, "not done": 0, "outdated": 0}
        with self._state.connection() as connection:
            connection.execute(_statement("lock"), {"flow": self._flow})
            for each in judge(self._known(connection, codes, numbers)):
                row, outcome = each.row, each.outcome
                of = {"flow": self._flow, "id": row.id, "sheet": row.sheet, "row": row.number, "who": who}
                if outcome == "done":
                    values = {**of, "number": each.target_number}
                    if connection.execute(_statement("confirm"), values).fetchone() is None:
                        connection.execute(_statement("doubt"), of)
                        overtaken.append(each)
                        outcome = "outdated"
                connection.execute(_statement("answer"), {**of, "outcome": outcome, "reason": each.reason})
                counts[outcome] += 1
            if any(counts.values()):
                self._note(connection, who, "import", {"file": file, **counts})
        return overtaken

    def baseline(self, records: Iterable[OwnerRecord], sheet: int, who: str, reason: str) -> None:
        """Confirms all records as the owner has them; open sheets are closed."""
        with self._state.connection() as connection:
            connection.execute(_statement("lock"), {"flow": self._flow})
            of = {"flow": self._flow, "data_type": self._data_type, "sheet": sheet, "who": who}
            rows = [{**of, "id": each.id, "fields": _json(each.fields)} for each in records]
            with connection.cursor() as cursor:
                cursor.executemany(_statement("baseline"), rows)
            connection.execute(_statement("../../sql/close"), {"flow": self._flow})
            self._note(connection, who, "baseline", {"records": len(rows)}, reason)

    def reopen(self, id: str, who: str, reason: str) -> bool:
        """Has a confirmed record listed again; False if none is."""
        with self._state.connection() as connection:
            if connection.execute(_statement("doubt"), {"flow": self._flow, "id": id}).fetchone() is None:
                return False
            self._note(connection, who, "reopen", {}, reason, id)
        return True

    def _row(self, sheet: int, number: int, change: ManualChange) -> dict[str, object]:
        return {
            "sheet": sheet,
            "row": number,
            "data_type": self._data_type,
            "id": change.id,
            "change": change.kind,
            "before": _json(change.before),
            "after": _json(change.after),
        }

    def _note(
        self,
        connection: Connection,
        who: str,
        action: str,
        details: Mapping[str, JsonValue],
        reason: str = "",
        record: str = "",
    ) -> None:
        AuditTrail(self._state).note_in(
            connection,
            who,
            action,
            "checklist",
            self._flow,
            data_type=self._data_type,
            record=record,
            reason=reason,
            details=dict(details),
        )


def totals_from(written: Mapping[str, str]) -> Totals:
    """Totals as they are stored."""
    found = {name: Decimal(value) for name, value in written.items()}
    return Totals(int(found.pop(RECORDS)), found)


def fields_of(stored: object) -> TargetFields | None:
    """Fields as they are stored: numbers are `{"number": "12.5"}`, so that none loses a digit."""
    if stored is None:
        return None
    assert isinstance(stored, dict)
    return {name: Decimal(value["number"]) if isinstance(value, dict) else value for name, value in stored.items()}


def _json(fields: TargetFields | None) -> Json | None:
    if fields is None:
        return None

    def written(value: FieldValue) -> JsonValue:
        return {"number": format(value, "f")} if isinstance(value, Decimal) else value

    return Json({name: written(value) for name, value in fields.items()}, dumps=_dumps)


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=True)


@cache
def _statement(name: str) -> bytes:
    return (_FOLDER / f"{name}.sql").read_bytes()
