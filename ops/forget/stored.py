"""What Sorbus's own tables hold of one record. A table that keeps values of records has its statement in sql/."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from sorbus.audit import AuditTrail
from sorbus.event import open_frame
from sorbus.ops.forget.receipt import Done, Receipt
from sorbus.state.database import State

_FOLDER = Path(__file__).parent / "sql"
_WHAT = {
    "1_doubts_elsewhere": ("duplicate_candidates", "shown as one that another record may be"),
    "2_candidates": ("duplicate_candidates", "the record beside those that it may be"),
    "3_decisions": ("duplicate_decisions", "reasons of decisions about it"),
    "4_crosswalk": ("crosswalk", "values sent, ids in targets"),
    "5_waiting": ("waiting", "states of it that wait for others or are incomplete"),
    "6_letters": ("letter", "its dead letters, as people read them"),
    "6_differences": ("reconcile_difference", "values that its owner and a target were seen to differ in"),
    "6_conflicts": ("conflict", "values that its owner and a target differ in"),
    "7_held_deletes": ("drift_finding", "its id among records that look deleted"),
    "8_written": ("written_record", "keys it is found by in spreadsheets and topics"),
    "8_system_views": ("system_view", "what systems of two-way flows showed of it last"),
    "8_own_writes": ("own_write", "what was written of it into applications of two-way flows"),
    "8_own_states": ("own_state", "what applications of two-way flows made of it"),
    "8_manual_records": ("manual_record", "what people confirmed of it in targets that they fill"),
    "8_manual_rows": ("manual_sheet_row", "what prepared sheets said of it"),
    "9_webhooks": ("webhook_attempt", "when it was posted to webhooks"),
}


class StillLinked(NamedTuple):
    """A record that a target has by the crosswalk."""

    system: str
    resource: str
    state: str
    external_id: str


class Double(NamedTuple):
    """A record of a target that is the same as the erased one, and is still to be taken away there."""

    system: str
    external_id: str
    candidate: int


class Stored:
    """The state database, as an erasure sees it. TransientError, AuthError."""

    def __init__(self, state: State, data_type: str, id: str, others: Sequence[str] = ()) -> None:
        """`others`: the flows of other data types."""
        self._state = state
        self._of = {"data_type": data_type, "id": id, "key": id.encode(), "others": list(others)}

    def links(self) -> list[StillLinked]:
        """Where the record still is, by the crosswalk."""
        rows = self._state.run(_statement("links"), self._of)
        return [StillLinked(*cast("tuple[str, str, str, str]", row)) for row in rows]

    def doubles(self) -> list[Double]:
        """Its doubles in targets that a merge has not taken away yet."""
        rows = self._state.run(_statement("doubles"), self._of)
        return [Double(*cast("tuple[str, str, int]", row)) for row in rows]

    def held_deletes(self) -> dict[str, str]:
        """Flows whose delete of the record waits its turn, with their targets."""
        rows = cast("list[tuple[str, str, bytes | None]]", self._state.run(_statement("held"), self._of))
        return {flow: system for flow, system, frame in rows if not frame or open_frame(frame).deleted}

    def erase(self, *, dry_run: bool, refused: Sequence[str] = ()) -> Iterator[Done]:
        """Erases it from all tables, in one transaction; in a dry run that is undone. `refused`: letters that stay."""
        found, stays = [], {"held": list(self.held_deletes()), "refused": list(refused)}
        with self._state.connection() as connection:
            for name, (table, what) in _WHAT.items():
                count = connection.execute(_statement(name), {**self._of, **stays}).rowcount
                found.append(Done(f"state database, {table}", what, count))
            if dry_run:
                connection.rollback()
        yield from found

    def record(self, receipt: Receipt) -> None:
        """Keeps the receipt."""
        content = receipt.content()
        values = {
            **self._of,
            "who": receipt.who,
            "reason": receipt.reason,
            "complete": receipt.complete,
            "receipt": json.dumps(content, ensure_ascii=False),
            "hash": content["hash"],
        }
        with self._state.connection() as connection:
            connection.execute(_statement("record"), values)
            AuditTrail(self._state).note_in(
                connection,
                receipt.who,
                "forget",
                "record",
                f"{receipt.data_type} {receipt.id}",
                data_type=receipt.data_type,
                record=receipt.id,
                reason=receipt.reason,
                details={"complete": receipt.complete},
            )


def _statement(name: str) -> bytes:
    return (_FOLDER / f"{name}.sql").read_bytes()
