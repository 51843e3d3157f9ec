"""Which row each record of a batch gets: a key that changes hands within the batch has one row after it, whatever the
order of the deliveries.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from sorbus.consumers.spreadsheet.record_cells import Row
from sorbus.consumers.spreadsheet.target_sheet import TargetSheet
from sorbus.consumers.written_versions import WrittenRecord
from sorbus.errors import PermanentError

Holder = tuple[str, str]
"""Data type and id of the record that has a key, as the state has it."""


class Wanted(NamedTuple):
    """A delivery that is newer than what was written. `row` None: a delete, and `key` is empty.

    `held`: the key of the record's row in the sheet; None: it has none, or nobody knows it.
    """

    place: int
    id: str
    version: int
    row: Row | None
    key: str
    held: str | None
    before: WrittenRecord | None

    @property
    def moves(self) -> bool:
        """Whether it gives its key up for another."""
        return self.row is not None and self._written not in (None, self.key)

    @property
    def _written(self) -> str | None:
        return self.before.key if self.before is not None else None

    @property
    def keys(self) -> set[str]:
        """The keys under which rows are looked for."""
        return {key for key in (self.key, self.held) if key}


class BatchRows:
    """`refused`: place -> why. `frees`: whether a delete gives its key to others, as it doesn't where the row stays."""

    def __init__(
        self,
        sheet: TargetSheet,
        wanted: Sequence[Wanted],
        holders: Mapping[str, Holder],
        data_type: str,
        *,
        frees: bool,
        refused: Mapping[int, PermanentError],
    ) -> None:
        self.refused = dict(refused)
        self._sheet, self._holders, self._data_type, self._frees = sheet, holders, data_type, frees
        self._own: dict[int, int | None] = {}
        self._at: dict[int, int | None] = {}
        for one in wanted:
            with self._refusing(one):
                self._own[one.place] = self._own_row(one)
                self._at[one.place] = sheet.row_of(one.key) if one.row is not None else None
        self._take_repeated([one for one in wanted if one.row is not None and one.place not in self.refused])
        for one in wanted:
            with self._refusing(one):
                self._require_one_row(one)
                self._require_unmerged(one)
        # Who keeps a key comes before those who want it.
        self._settle(sorted(wanted, key=lambda one: one.before is None or one.before.key != one.key))
        self._numbers = self._assigned([one for one in wanted if one.place not in self.refused])

    @contextmanager
    def _refusing(self, one: Wanted) -> Iterator[None]:
        try:
            yield
        except PermanentError as error:
            self.refused.setdefault(one.place, error)

    def _own_row(self, one: Wanted) -> int | None:
        """The record's row. PermanentError where several may be it."""
        if one.held is None:
            return None
        was_written = one.before is not None and one.before.key == one.held
        mine = (self._data_type, one.id)
        if not was_written and self._holders.get(one.held, mine) != mine:
            return None
        number = self._sheet.row_of(one.held)
        if number is None and was_written:
            self._sheet.require_gone(one.held, self._holders)
        return number

    def number(self, place: int) -> int | None:
        """The row that a record is written to, or that its delete concerns; None: a new one, or none."""
        return self._numbers[place]

    def _take_repeated(self, written: Sequence[Wanted]) -> None:
        """After a crash between file and state the rows have their new keys already, and the state the former ones."""
        there = {one.place for one in written if self._is_there(one)}
        while True:
            taken = {one.key for one in written if one.place in there}
            unsure = {
                one.place
                for one in written
                if one.place in there
                and self._own[one.place] not in (None, self._at[one.place])
                and one.held not in taken
            }
            if not unsure:
                break
            there -= unsure
        for place in there:
            if self._own[place] is not None:
                self._own[place] = self._at[place]

    def _is_there(self, one: Wanted) -> bool:
        at = self._at[one.place]
        return at is not None and one.row is not None and not self._sheet.differs(at, one.row)

    def _require_one_row(self, one: Wanted) -> None:
        own, at = self._own.get(one.place), self._at.get(one.place)
        if own is not None and at is not None and own != at and one.key not in self._holders:
            raise PermanentError(
                f"{self._sheet.name} has the record's row, {own}, with its former key {one.held}, and row {at}, which"
                f" somebody else has written, with its key {one.key} ({self._sheet.key}): delete one of the two",
                reason="doubled key",
                field=self._sheet.key,
            )

    def _require_unmerged(self, one: Wanted) -> None:
        number = self._own.get(one.place)
        number = self._at.get(one.place) if number is None else number
        if one.row is not None and number is not None:
            self._sheet.require_unmerged(number, one.row)

    def _settle(self, wanted: Sequence[Wanted]) -> None:
        """Refuses those who want the key of another, until that changes nothing: who is refused keeps its own key."""
        while True:
            left = [one for one in wanted if one.place not in self.refused]
            leaving = {one.id for one in left if one.moves or (one.row is None and self._frees)}
            taken: dict[str, str] = {}
            found: dict[int, PermanentError] = {}
            for one in left:
                if one.row is None:
                    continue
                if (other := self._other(one, leaving, taken)) is None:
                    taken[one.key] = one.id
                else:
                    found[one.place] = self._collision(one, other)
            if not found:
                return
            self.refused.update(found)

    def _other(self, one: Wanted, leaving: Collection[str], taken: Mapping[str, str]) -> str | None:
        data_type, id = self._holders.get(one.key, (self._data_type, one.id))
        if data_type != self._data_type or (id != one.id and id not in leaving):
            return id
        return taken.get(one.key)

    def _collision(self, one: Wanted, other: str) -> PermanentError:
        return PermanentError(
            f"the key {one.key} ({self._sheet.key}) belongs to the row of another record, {other}: keys must differ;"
            " correct one of the records, or take another `key:`",
            reason="doubled key",
            field=self._sheet.key,
        )

    def _assigned(self, wanted: Sequence[Wanted]) -> dict[int, int | None]:
        written = [one for one in wanted if one.row is not None]
        owned = {self._own[one.place] for one in written}
        found: dict[int, int | None] = {}
        claimed: set[int] = set()
        for one in written:
            number = self._own[one.place]
            if number is None or number in claimed:
                at = self._at[one.place]
                number = at if at is not None and at not in owned and at not in claimed else None
            if number is not None:
                claimed.add(number)
            found[one.place] = number
        for one in wanted:
            if one.row is None:
                number = self._own[one.place]
                found[one.place] = None if number in claimed else number
        return found
