"""What the merge decided against a system, and what it asks people, among the map's conflicts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from math import isfinite

from sorbus.conflict.store import Conflict, Conflicts, Contest
from sorbus.http_api.interface import Json
from sorbus.state.database import State
from sorbus.two_way.merge import Ruling, Verdict
from sorbus.two_way.merged_record import MergedRecord

_AT_ONCE = 1000
RECORD = "(record)"
"""In place of a field: the record was deleted where that doesn't count."""
_NOTED = {Verdict.OVERRULED, Verdict.TIED, Verdict.ASKED}


class ContestLog:
    """The conflicts of one data type's merge. `flows`: system -> the flow that delivers to it."""

    def __init__(self, state: State, data_type: str, flows: Mapping[str, str]) -> None:
        self._state, self._data_type, self._flows = state, data_type, flows

    def note(self, records: Mapping[bytes, MergedRecord], rulings: Sequence[tuple[bytes, Ruling]]) -> None:
        """Records what was overruled, and what a person has to decide. TransientError."""
        for id, ruling in rulings:
            if ruling.verdict not in _NOTED:
                continue
            asks = ruling.verdict is Verdict.ASKED
            held = records[id].held.get((ruling.field, ruling.system))
            if held is not None and not asks:
                continue  # a person is asked about this field there: the question must stay
            contest = Contest(
                ruling.field or RECORD,
                _json(held.before if held else None),
                _json(ruling.theirs),
                _json(ruling.ours),
                ruling.in_turn_with or None,
            )
            conflicts = Conflicts(self._state, ruling.system, self._data_type, "")
            text = id.decode(errors="replace")
            flow = self._flows.get(ruling.system, "")
            numbers = conflicts.put(text, records[id].version, flow, text, [contest], asks=asks)
            if not asks:
                conflicts.overwritten(numbers)

    def decisions(self) -> list[Conflict]:
        """What people have decided and the merge hasn't carried out. TransientError."""
        # of all systems: the record waits for one that has left the map, too
        return Conflicts(self._state, None, self._data_type, "").page(("overwrite", "keep"), most=_AT_ONCE)

    def over(self, id: bytes) -> None:
        """The record is gone: nothing about it is left to decide. TransientError."""
        text = id.decode(errors="replace")
        of_all = Conflicts(self._state, None, self._data_type, "")
        for system in {one.system for one in of_all.page(("open", "overwrite", "keep"), id=text)}:
            Conflicts(self._state, system, self._data_type, "").settle(text)

    def all_over(self, ids: Collection[bytes]) -> None:
        """Nothing that people were asked about these records counts any more. TransientError."""
        asked = Conflicts(self._state, None, self._data_type, "").asked([id.decode() for id in ids])
        for id in asked:
            self.over(id.encode())

    def carried_out(self, kept: Sequence[Conflict], overwritten: Sequence[Conflict]) -> None:
        """They are part of the record now. TransientError."""
        conflicts = Conflicts(self._state, None, self._data_type, "")
        conflicts.overwritten([one.number for one in overwritten])
        conflicts.kept([one.number for one in kept])


def _json(value: object) -> Json:
    """A canonical value as conflicts keep them."""
    if isinstance(value, float) and not isfinite(value):
        return str(value)  # no JSON
    if value is None or isinstance(value, str | int | float | bool | Decimal):
        return value
    if isinstance(value, dict):
        return {str(name): _json(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_json(inner) for inner in value]
    return str(value)
