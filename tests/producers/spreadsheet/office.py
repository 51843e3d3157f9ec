"""A folder with files that people open, copy, shorten and break, and what a producer publishes of them."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sorbus.abilities import PublishedState
from sorbus.conformance.sample_type import NAME, SCHEMA, decode, rows
from sorbus.connector import Batch, BoundSource, BoundSystem, Position
from sorbus.errors import PartialOutage, Unfinished
from sorbus.mapfile.model import DataType, System
from sorbus.producers.spreadsheet.options import SpreadsheetSource
from sorbus.producers.spreadsheet.producer import SpreadsheetProducer
from sorbus.spreadsheet.files import SpreadsheetConnection

WITHIN = 10.0
Rows = Sequence[tuple[object, ...]]


class Office:
    """A folder, a producer on it, and what the producer has published."""

    def __init__(self, folder: Path, *, is_mapped: bool = True, **options: object) -> None:
        """`is_mapped`: the mapping sheet has a row; else every field takes the column of its name."""
        self.folder, self._is_mapped = folder, is_mapped
        given = {"file": "list.csv", "key": "No", "settle": 0.01, "removed_rows": "delete", **options}
        self._options = SpreadsheetSource.model_validate(given)
        self.live: dict[str, str] = {}
        self.notes: dict[str, object] = {}
        self.letters: dict[str, str] = {}
        self.problems: list[str] = []
        self.events = 0
        self.position: Position = {}
        self.producer = self.start()

    def start(self, *published: PublishedState, position: Position | None = None) -> SpreadsheetProducer:
        mapping = [("name", f"{self._options.resource}.Name", "")] if self._is_mapped else []
        data_type = DataType(system_of_record="office")
        source = BoundSource(NAME, data_type, SCHEMA, rows("office", mapping, into=False), self._options)
        connection = SpreadsheetConnection(path=Path())
        system = BoundSystem("office", System(kind="spreadsheet"), connection, "", self.folder)
        self.producer = SpreadsheetProducer(system, [source])
        self.producer.remember(NAME, published)
        self.producer.open(position)
        return self.producer

    def write(self, rows: Rows, name: str = "list.csv") -> Path:
        path = self.folder / name
        with path.open("w", encoding="utf-8", newline="") as opened:
            csv.writer(opened).writerows([("No", "Name"), *rows])
        return path

    def step(self) -> None:
        try:
            batch = self.producer.read(0.02)
        except PartialOutage as error:
            self.problems.append(str(error))
        except Unfinished:
            pass
        else:
            self._take(batch)

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WITHIN
        while not is_so():
            assert time.monotonic() < deadline, f"{what}: {self.live} {self.letters} {self.problems[-1:]}"
            self.step()

    def looks(self, times: int = 5) -> None:
        """The files are looked at so many times again."""
        for _ in range(times):
            self.step()

    def _take(self, batch: Batch | None) -> None:
        self.position = batch.position if batch else self.position
        for change in batch.changes if batch else ():
            id = change.id.decode()
            self.events += 1
            self.letters.pop(id, None)
            if change.data is None:
                self.live.pop(id, None)
            else:
                record = decode(change.data)
                self.live[id], self.notes[id] = str(record["name"]), record["note"]
        for reject in batch.rejects if batch else ():
            self.letters[reject.id.decode()] = str(reject.error)
        for _, id in batch.resolved if batch else ():
            self.letters.pop(id.decode(), None)


def many(count: int) -> Rows:
    return [(number, f"name {number}") for number in range(1, count + 1)]
