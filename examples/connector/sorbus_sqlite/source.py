"""SQLite as a system of record: it has no log, so the records are compared with what was published."""

import json
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing

from pydantic import BaseModel

from sorbus.abilities import PublishedState
from sorbus.connector import Batch, BoundSource, BoundSystem, Change, Position, RejectedRecord, Step
from sorbus.errors import PermanentError, TransientError
from sorbus.mapping.record import canonical_maker
from sorbus_sqlite.target import File, make


class Looks(BaseModel, extra="forbid"):  # what a data type says under `source:`
    resource: str
    every: float = 1.0  # seconds between two looks


class SqliteProducer:
    """Captures the data types that one file owns. The topic itself is its memory (`sorbus.abilities.SupportsState`)."""

    Connection, Source = File, Looks

    def __init__(self, system: BoundSystem, sources: Sequence[BoundSource]) -> None:
        self._file = system.connection.file.absolute()
        self._resources = {one.name: one.options.resource for one in sources}
        self._makers = {one.name: canonical_maker(one, system.name, one.options.resource) for one in sources}
        self._known: dict[str, dict[bytes, tuple[int, bytes | str | None]]] = {one.name: {} for one in sources}
        self._every, self._due = min(one.options.every for one in sources), 0.0

    def remember(self, data_type: str, published: Iterable[PublishedState]) -> None:
        self._known[data_type] = {one.id: (one.version, one.data) for one in published}

    def open(self, position: Position | None) -> None:
        self._rows()

    def read(self, wait: float) -> Batch | None:
        if (pause := self._due - time.monotonic()) > 0:
            time.sleep(min(pause, wait))
            if pause > wait:
                return None
        rows = self._rows()
        changes: list[Change] = []
        rejects: list[RejectedRecord] = []
        # Only now, since what a read that fails has noted would never be published.
        for name, resource in self._resources.items():
            self._compare(name, {id.encode(): text for of, id, text in rows if of == resource}, changes, rejects)
        self._due = time.monotonic() + self._every
        return Batch(changes, rejects, (), {}, caught_up=True)

    def _rows(self) -> list[tuple[str, str, str]]:
        try:
            with closing(sqlite3.connect(f"{self._file.as_uri()}?mode=ro", uri=True, timeout=1)) as file:
                return file.execute("select resource, id, record from records where record is not null").fetchall()
        except sqlite3.OperationalError as error:
            raise TransientError(f"{self._file}: {error}; is it free, and has `sorbus apply` made it?") from error

    def _compare(self, name: str, rows: dict[bytes, str], changes: list[Change], rejects: list[RejectedRecord]) -> None:
        known, now = self._known[name], time.time_ns() // 1000
        for id in known.keys() | rows.keys():
            version, before = known.get(id, (0, None))
            newer, text = max(version + 1, now), rows.get(id)
            try:
                data = None if text is None else self._makers[name]({"id": id.decode(), **json.loads(text)})
            except (PermanentError, ValueError) as error:
                if before != text:  # once for each bad state; and whatever mends it is a change
                    refused = error if isinstance(error, PermanentError) else PermanentError(str(error), reason="json")
                    rejects.append(RejectedRecord(name, id, newer, now, str(text).encode(), refused))
                    known[id] = newer, text
                continue
            if data != before:
                changes.append(Change(name, id, newer, now, data))
                known[id] = newer, data

    def confirm(self, position: Position) -> None: ...  # the file keeps nothing back for us
    def close(self) -> None: ...

    def resnapshot(self, data_types: Sequence[str]) -> None:
        for name in data_types:
            self._known[name] = {id: (version, None) for id, (version, _) in self._known[name].items()}
        self._due = 0.0

    def lag(self) -> int | None:
        return None

    @classmethod
    def plan(cls, system: BoundSystem, sources: Sequence[BoundSource]) -> list[Step]:
        file = system.connection.file
        return [] if file.exists() else [Step(system.name, f"file {file}", apply=lambda: make(file))]

    @classmethod
    def resources_of(cls, options: Looks) -> dict[str, str]:
        return {"": options.resource}
