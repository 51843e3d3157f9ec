"""One run of a tap: from its lines to changes, with the state that follows them."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sorbus.errors import TransientError
from sorbus.producers.polling.poll_state import PageResult
from sorbus.producers.singer.catalog import TapCatalog, WantedStream, has_bookmark, without_bookmarks
from sorbus.producers.singer.messages import (
    ActivateVersionMessage,
    BatchMessage,
    BrokenLine,
    Message,
    NoMessage,
    OverlongLine,
    RecordMessage,
    SchemaMessage,
    StateMessage,
    parse_line,
)
from sorbus.producers.singer.stream import TapStream
from sorbus.producers.singer.tap import Tap

_MOST_CHANGES = 1000
_LARGEST_STATE = 400_000
_MOST_NOISE = 5
_log = logging.getLogger(__name__)


class Found(NamedTuple):
    """What a part of a run brought for one data type."""

    data_type: str
    result: PageResult


class TapRun:
    """Begins with the construction. `state` is the last one whose records have all been returned."""

    def __init__(
        self, tap: Tap, catalog: TapCatalog | None, streams: Sequence[TapStream], state: str | None, system: str
    ) -> None:
        """TransientError where the tap can't be started, or hasn't the streams."""
        self.state = state
        self.is_over = False
        """Whether it came to its end, all of its lines were taken, and none of its records is owed."""
        self._tap, self._system = tap, system
        self._streams: dict[str, list[TapStream]] = {}
        self._all = list(streams)
        self._lines: deque[bytes | OverlongLine] = deque()
        self._noise = self._others = 0
        self._fault: TransientError | None = None
        wanted = dict[str, WantedStream]()
        entries = {one.name: catalog.entry(one.options.stream) if catalog else None for one in streams}
        names = {one.name: entry.names if (entry := entries[one.name]) else {one.options.stream} for one in streams}
        is_full = {one.name: one.is_full(entries[one.name]) for one in streams}
        again = [one for one in streams if one.owes_all or (is_full[one.name] and one.is_complete)]
        if again:
            self.state = without_bookmarks(state, {name for one in again for name in names[one.name]})
        for one in streams:
            entry = entries[one.name]
            for name in names[one.name]:
                self._streams.setdefault(name, []).append(one)
            if entry is not None:
                before = wanted.get(entry.id)
                fields = one.wanted.fields | (before.fields if before else frozenset())
                wanted[entry.id] = one.wanted._replace(fields=fields)
            one.begin_run(entry, from_beginning=not has_bookmark(self.state, names[one.name]))
        tap.sync(catalog.selected(wanted) if catalog else None, self.state)

    def read(self, wait: float, until: float) -> Found | None:
        """What came; None after `wait` seconds without anything to publish, or at its end. TransientError."""
        waits_until = time.monotonic() + wait
        while True:
            if found := self._taken(until):
                return found
            process = self._tap.process
            assert process is not None
            if process.exit_code is not None and not self._lines:
                self._tap.check()
                self.is_over = True
                self._end()
                return None
            left = waits_until - time.monotonic()
            if left <= 0:
                self._tap.check()
                return None
            if not self._lines:
                self._lines.extend(process.read(left))
                self._tap.check()

    def ended(self) -> list[Found]:
        """What is known at the end only."""
        return [Found(one.name, one.end_run()) for one in self._all]

    def _taken(self, until: float) -> Found | None:
        """The lines that are there, as far as they are of one data type's records and time allows."""
        found: dict[str, PageResult] = {}
        if self._fault is not None:
            raise self._fault
        while self._lines:
            try:
                if not self._take(parse_line(self._lines[0]), found):
                    break  # the next batch
            except TransientError as error:
                if not found:
                    raise
                self._fault = error  # after what was found before it
                break
            self._lines.popleft()
            is_much = sum(len(one.changes) + len(one.rejects) for one in found.values()) >= _MOST_CHANGES
            if is_much or (found and time.monotonic() >= until):
                break
        return self._first(found)

    def _take(self, message: Message, found: dict[str, PageResult]) -> bool:
        """Takes a message in; False for one that belongs into another batch. TransientError."""
        match message:
            case RecordMessage(stream=stream) | BrokenLine(stream=stream) if stream in self._streams:
                if found and found.keys() != {one.name for one in self._streams[stream]}:
                    return False
                for one in self._streams[stream]:
                    result = found.setdefault(one.name, PageResult())
                    if isinstance(message, RecordMessage):
                        one.judge(message, result)
                    else:
                        one.refuse_line(message, result)
            case BrokenLine(stream=""):
                raise TransientError(
                    f"the tap wrote a line that can't be read: {message.why}. It begins"
                    f" {self._tap.beginning(message.text)!r}; what it held is unknown, so the run was stopped"
                )
            case SchemaMessage(stream=stream):
                for one in self._streams.get(stream, ()):
                    one.describe(message)
            case StateMessage(text=text):
                self._take_state(text)
            case ActivateVersionMessage(stream=stream, version=version):
                for one in self._streams.get(stream, ()):
                    one.activate(version)
            case BatchMessage(stream=stream) if stream in self._streams or not stream:
                raise TransientError(
                    f"the tap writes records of {stream} into files (BATCH), which Sorbus doesn't read: remove"
                    " `batch_config` from the tap's `config:`"
                )
            case NoMessage(text=text):
                self._note(text)
            case _:
                self._others += 1
        return True

    def _first(self, found: Mapping[str, PageResult]) -> Found | None:
        """Several data types of one stream are rare: their changes are one batch."""
        if not any(one.changes or one.rejects or one.resolved for one in found.values()):
            return None
        (name, first), *others = found.items()
        for _, other in others:
            first.changes += other.changes
            first.rejects += other.rejects
        return Found(name, first)

    def _take_state(self, text: str) -> None:
        if len(text) > _LARGEST_STATE:
            raise TransientError(
                f"the tap's state is {len(text):,} characters long, and Sorbus keeps {_LARGEST_STATE:,} at most"
            )
        self.state = text
        for one in self._all:
            one.is_complete = False

    def _note(self, text: str) -> None:
        if text.strip():
            self._noise += 1
            if self._noise <= _MOST_NOISE:
                _log.info("%s: the tap wrote a line that is no message: %s", self._system, self._tap.beginning(text))

    def _end(self) -> None:
        if self._noise > _MOST_NOISE:
            _log.info("%s: the tap wrote %d lines that are no messages", self._system, self._noise)
        if self._others:
            _log.info("%s: the tap wrote %d records of streams that no data type reads", self._system, self._others)
