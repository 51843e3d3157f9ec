"""A record's dead letters in its trace."""

from __future__ import annotations

from collections.abc import Iterator

from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.calendar_limits import moment_of
from sorbus.deadletter import DeadLetter
from sorbus.dlq.index import LetterIndex
from sorbus.dlq.letter_mask import LetterMask
from sorbus.dlq.reader import open_letters
from sorbus.dlq.store import LetterStore
from sorbus.ops.trace.moment import Moment
from sorbus.ops.trace.record import TracedRecord
from sorbus.state.database import State


class LetterTrace:
    """Dead letters of one record as moments, each called `item`."""

    def __init__(self, record: TracedRecord, item: str) -> None:
        self._record, self._item = record, item
        self._names = Names(record.loaded.map.topic_prefix)

    def indexed(self, state: State) -> Iterator[Moment]:
        """From the index, with their whole life. TransientError, AuthError."""
        record, mask = self._record, self._mask()
        index = LetterIndex(state, record.settings, self._names, [record.data_type])
        try:
            index.catch_up()
        finally:
            index.close()
        for known in LetterStore(state).of_record(record.data_type, record.id):
            yield self._written(known.dead, mask, is_open=known.state == "open")
            if known.state != "open":
                newer = f" by version {known.superseded_by}" if known.superseded_by is not None else ""
                where = known.dead.flow or f"from {known.dead.system}"
                yield Moment(known.state_at, self._item, where, f"the dead letter: {known.state}{newer}", {}, known.id)

    def open(self) -> Iterator[Moment]:
        """Only the open ones, from their topic. TransientError, AuthError."""
        record, mask = self._record, self._mask()
        for letter in open_letters(record.settings, self._names, [record.data_type]):
            if letter.record_id.decode(errors="replace") == record.id:
                yield self._written(letter, mask, is_open=True)

    def _written(self, letter: DeadLetter, mask: LetterMask, *, is_open: bool) -> Moment:
        shown = letter if self._record.show_personal else mask.letter(letter)
        times = f", tried {shown.attempts} times" if shown.attempts > 1 else ""
        what = f"became a dead letter{times}: {shown.words or shown.message}"
        at = moment_of(shown.first_at)
        return Moment(at, self._item, shown.flow or f"from {shown.system}", what, {}, shown.id, is_open)

    def _mask(self) -> LetterMask:
        record = self._record
        schema = record.loaded.schema(record.data_type)
        return LetterMask(record.loaded, SchemaResolver(record.settings, self._names, [schema]))
