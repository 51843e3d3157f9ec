"""The records that were there before a step with `begin: now`: they make nothing until they have left its `where`.

Kept in Sorbus's database, with every record that was seen since: so a snapshot of the source brings nothing that is
made twice, nor ten years of records at once. What is kept depends on the events alone, not on when they are read:
reading them again after a crash says the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sorbus.producers.step.source_event import SourceEvent
from sorbus.state import State

_WANTED = b"select id, version, new_from from step_record where step = %s and id = any(%s)"
_SAVED = b"""
insert into step_record (step, id, version, new_from)
select %s, * from unnest(%s::text[], %s::bigint[], %s::bigint[])
    on conflict (step, id) do update set new_from = excluded.new_from where step_record.new_from is null
"""
_ASKED = b"update step_record set new_from = 0 where step = %s and id = any(%s) and new_from is null"


class _Row(NamedTuple):
    version: int
    new_from: int | None


class EarlierRecords:
    """One step's. Between `load` and `save` nothing is asked of the database."""

    def __init__(self, state: State, step: str) -> None:
        self._state, self._step = state, step
        self._rows: dict[str, _Row] = {}
        self._changed: set[str] = set()

    def has_begun(self) -> bool:
        """Whether the step has begun before. TransientError."""
        return bool(self._state.run(b"select 1 from step_begin where step = %s", (self._step,)))

    def begin(self, records: Iterable[tuple[bytes, int, bool]]) -> int:
        """Begins with these: id, version, and whether it fits. All of them, or none; their number. TransientError."""
        count = 0
        with self._state.connection() as connection:
            connection.execute(b"insert into step_begin (step) values (%s)", (self._step,))
            with connection.cursor().copy(b"copy step_record (step, id, version, new_from) from stdin") as copy:
                for id, version, fits in records:
                    copy.write_row((self._step, _text(id), version, None if fits else version))
                    count += 1
        return count

    def count(self) -> int:
        """How many still make nothing. TransientError."""
        asked = b"select count(*) from step_record where step = %s and new_from is null"
        ((count,),) = self._state.run(asked, (self._step,))
        assert isinstance(count, int)
        return count

    def load(self, events: Sequence[SourceEvent]) -> None:
        """Before the events of a batch are taken. TransientError."""
        ids = list({_text(event.id) for event in events})
        self._rows = {
            str(id): _Row(int(str(version)), None if new_from is None else int(str(new_from)))
            for id, version, new_from in self._state.run(_WANTED, (self._step, ids))
        }

    def holds(self, event: SourceEvent) -> bool:
        """Whether a record that fits makes nothing. One that is first seen in a snapshot was there before."""
        row = self._rows.get(_text(event.id))
        if row is None:
            row = self._put(event, None if event.is_historical else event.version)
        return row.new_from is None or event.version < row.new_from

    def leave(self, event: SourceEvent) -> None:
        """A record doesn't fit: once it fits again, it counts as new."""
        row = self._rows.get(_text(event.id))
        if row is None or (row.new_from is None and event.version > row.version):
            self._put(event, event.version)

    def save(self) -> None:
        """After the events of a batch have been taken, before what they make is published. TransientError."""
        if self._changed:
            rows = [(id, *self._rows[id]) for id in sorted(self._changed)]
            self._state.run(_SAVED, (self._step, *(list(column) for column in zip(*rows, strict=True))))
            self._changed = set()

    def ask(self, ids: Iterable[bytes]) -> None:
        """A person asks for these: they count as new. TransientError."""
        self._state.run(_ASKED, (self._step, list(map(_text, ids))))

    def _put(self, event: SourceEvent, new_from: int | None) -> _Row:
        id = _text(event.id)
        row = self._rows[id] = _Row(event.version, new_from)
        self._changed.add(id)
        return row


def _text(id: bytes) -> str:
    """The id as PostgreSQL's text holds it: no zero byte, always UTF-8."""
    return id.decode(errors="backslashreplace").replace("\0", "\\0")
