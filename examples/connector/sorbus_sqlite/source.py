"""SQLite as a system of record: it has no log, so the records are compared with what was published."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence

from pydantic import BaseModel

from sorbus.connector import Batch, BoundSource, BoundSystem, Change, Position, Published, Reject, Resource, Step
from sorbus.errors import PermanentError
from sorbus.mapping.record import canonical_maker
from sorbus_sqlite.file import File, Records, plan_file, session


class SqliteProducer:
    """Captures the data types that one file owns. The topic itself is its memory (`sorbus.connector.Remembers`)."""

    Connection: type[BaseModel] = File
    Source: type[BaseModel] = Records

    def __init__(self, system: BoundSystem, sources: Sequence[BoundSource]) -> None:
        assert isinstance(system.connection, File)
        self._file = system.connection.file
        self._makers = {one.name: canonical_maker(one, system.name, _resource(one.options)) for one in sources}
        self._resources = {one.name: _resource(one.options) for one in sources}
        self._known: dict[str, dict[bytes, tuple[int, bytes | str | None]]] = {name: {} for name in self._makers}
        self._every = min((one.options.every for one in sources if isinstance(one.options, Records)), default=1.0)
        self._due = 0.0

    def remember(self, data_type: str, published: Iterable[Published]) -> None:
        self._known[data_type] = {one.id: (one.version, one.data) for one in published}

    def open(self, position: Position | None) -> None:
        with session(self._file) as connection:
            connection.execute("select 1 from records limit 1")

    def read(self, wait: float) -> Batch | None:
        if (pause := self._due - time.monotonic()) > 0:
            time.sleep(min(pause, wait))
            if pause > wait:
                return None
        with session(self._file) as connection:
            rows = connection.execute("select resource, id, record from records where record is not null").fetchall()
        changes: list[Change] = []
        rejects: list[Reject] = []
        # Only now, since what a read that fails has noted would never be published.
        for name, resource in self._resources.items():
            self._compare(name, {id.encode(): text for of, id, text in rows if of == resource}, changes, rejects)
        self._due = time.monotonic() + self._every
        return Batch(changes, rejects, (), {}, caught_up=True)

    def _compare(self, name: str, rows: dict[bytes, str], changes: list[Change], rejects: list[Reject]) -> None:
        known, now = self._known[name], time.time_ns() // 1000
        for id in known.keys() | rows.keys():
            version, before = known.get(id, (0, None))
            newer, text = max(version + 1, now), rows.get(id)
            try:
                data = None if text is None else self._makers[name]({"id": id.decode(), **json.loads(text)})
            except (PermanentError, ValueError) as error:
                if before != text:  # once for each bad state; and whatever mends it is a change
                    refused = error if isinstance(error, PermanentError) else PermanentError(str(error), reason="json")
                    rejects.append(Reject(name, id, newer, now, str(text).encode(), refused))
                    known[id] = newer, text
                continue
            if data != before:
                changes.append(Change(name, id, newer, now, data))
                known[id] = newer, data

    def confirm(self, position: Position) -> None:
        """The file keeps nothing back for us."""

    def recopy(self, data_types: Sequence[str]) -> None:
        for name in data_types:
            self._known[name] = {id: (version, None) for id, (version, _) in self._known[name].items()}
        self._due = 0.0

    def lag(self) -> int | None:
        return None

    def close(self) -> None:
        """Nothing stays open between polls."""

    @classmethod
    def plan(cls, system: BoundSystem, sources: Sequence[BoundSource]) -> list[Step]:
        assert isinstance(system.connection, File)
        return plan_file(system.name, system.connection.file)

    @classmethod
    def discover(cls, system: BoundSystem) -> list[Resource]:
        return []

    @classmethod
    def resources_of(cls, options: BaseModel) -> dict[str, str]:
        return {"": _resource(options)}


def _resource(options: BaseModel) -> str:
    assert isinstance(options, Records)
    return options.resource
