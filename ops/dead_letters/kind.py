"""Dead letters as a kind of decision; dlq/ holds their store, actions and commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.calendar_limits import moment_of
from sorbus.deadletter import DeadLetter
from sorbus.dlq.index import LetterIndex
from sorbus.dlq.masking import LetterMask
from sorbus.dlq.reader import open_letters
from sorbus.dlq.store import LetterStore
from sorbus.mapfile.model import Map
from sorbus.ops.dead_letters.counts import LetterCounts
from sorbus.ops.dead_letters.digest import LetterDigest, letter_digest
from sorbus.ops.decisions.kind import ConsolePages, DecisionKind
from sorbus.ops.digest.items import DigestRequest
from sorbus.ops.monitoring.measure import Measurement
from sorbus.ops.trace.moment import Moment
from sorbus.ops.trace.record import TracedRecord
from sorbus.state.database import State


class LetterKind(DecisionKind):
    """What people do about dead letters: retry, edit, assign or discard."""

    name, item, found = "dead_letters", "letter", LetterCounts

    def measure(self, company: Map, *, has_state: bool) -> Callable[[Measurement], LetterCounts]:
        owners = {name: system for system in company.systems for name in company.owned_by(system)}
        return lambda measured: LetterCounts(measured.dead_letters, owners)

    def pages(self) -> ConsolePages:
        from sorbus.ops.dead_letters.pages import routes

        return ConsolePages("Dead letters", "/letters", routes, Path(__file__).parent / "templates", "/letter?id=")

    def digest(self, request: DigestRequest) -> LetterDigest:
        return letter_digest(request)

    def trace(self, record: TracedRecord, state: State) -> Iterator[Moment]:
        """From the index, with their whole life."""
        mask, names = _mask(record), Names(record.loaded.map.topic_prefix)
        index = LetterIndex(state, record.settings, names, [record.data_type])
        try:
            index.catch_up()
        finally:
            index.close()
        for known in LetterStore(state).of_record(record.data_type, record.id):
            yield self._written(record, known.dead, mask, is_open=known.state == "open")
            if known.state != "open":
                newer = f" by version {known.superseded_by}" if known.superseded_by is not None else ""
                where = known.dead.flow or f"from {known.dead.system}"
                yield Moment(known.state_at, self.item, where, f"the dead letter: {known.state}{newer}", {}, known.id)

    def trace_without_state(self, record: TracedRecord) -> Iterator[Moment]:
        """Only the open ones, from their topic."""
        mask = _mask(record)
        for letter in open_letters(record.settings, Names(record.loaded.map.topic_prefix), [record.data_type]):
            if letter.record_id.decode(errors="replace") == record.id:
                yield self._written(record, letter, mask, is_open=True)

    def _written(self, record: TracedRecord, letter: DeadLetter, mask: LetterMask, *, is_open: bool) -> Moment:
        shown = letter if record.show_personal else mask.letter(letter)
        times = f", tried {shown.attempts} times" if shown.attempts > 1 else ""
        what = f"became a dead letter{times}: {shown.words or shown.message}"
        at = moment_of(shown.first_at)
        return Moment(at, self.item, shown.flow or f"from {shown.system}", what, {}, shown.id, is_open)


def _mask(record: TracedRecord) -> LetterMask:
    names = Names(record.loaded.map.topic_prefix)
    return LetterMask(record.loaded, SchemaResolver(record.settings, names, [record.loaded.schema(record.data_type)]))
