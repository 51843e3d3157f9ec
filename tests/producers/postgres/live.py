"""A producer on a real database without Kafka: what its batches come to, newest per key, by the loop's rules."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from io import BytesIO
from typing import cast

import fastavro
import pytest

from sorbus.connector import Batch, Position, Producer
from sorbus.errors import TransientError, Unfinished
from tests.producers.shop import Record, Shop


class Live:
    """The newest state of each record (None: deleted), and the open rejects with their errors' words."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.newest: dict[tuple[str, bytes], tuple[int, bytes | None]] = {}
        self.rejects: dict[tuple[str, bytes], str] = {}
        self.position: Position | None = None
        self._producer: Producer | None = None
        loaded = shop.loaded()
        self._bound, self._sources = loaded.system("shop", "producer"), loaded.sources("shop")
        self._connector = loaded.producer("shop")
        self._schemas = {name: loaded.schema(name).json for name in loaded.map.data_types}
        for step in self._connector.plan(self._bound, self._sources):
            assert step.apply is not None, step
            step.apply()

    def records(self, data_type: str) -> dict[str, Record]:
        return {
            id.decode(): cast("Record", fastavro.schemaless_reader(BytesIO(data), self._schemas[name], None))
            for (name, id), (_, data) in self.newest.items()
            if name == data_type and data is not None
        }

    def wait(self, until: Callable[[], bool], missing: Callable[[], object], seconds: float = 40.0) -> None:
        """Reads until something has come about; fails with what is missing. Transient faults are tried again."""
        end = time.monotonic() + seconds
        last: Exception | None = None
        while not until():
            if time.monotonic() > end:
                pytest.fail(f"after {seconds:.0f} s: {missing()}; last fault: {last}", pytrace=False)
            try:
                self.step()
            except TransientError as error:
                last = error
                self.close()

    def step(self) -> None:
        """Reads one batch, if there is one by now, and takes it in."""
        if self._producer is None:
            self._producer = self._connector(self._bound, self._sources)
            self._producer.open(self.position)
            for data_type in self._schemas:
                ids = [id for name, id in self.rejects if name == data_type]
                self._producer.reread(data_type, ids)  # type: ignore[attr-defined]
        try:
            batch = self._producer.read(0.1)
        except Unfinished:  # it waits for other people's transactions before it copies
            return
        if batch is not None:
            self._take(batch)
            self._producer.confirm(batch.position)

    def reread(self, data_type: str, id: bytes) -> None:
        """Asks for a record, as a person may."""
        self._producer.reread(data_type, [id])  # type: ignore[union-attr]

    def _take(self, batch: Batch) -> None:
        for sweep in batch.sweeps:
            for (name, id), (version, data) in list(self.newest.items()):
                spared = sweep.spares_rejected and (name, id) in self.rejects
                if name == sweep.data_type and version < sweep.version and data is not None and not spared:
                    self.newest[name, id] = sweep.version, None
        newer: dict[tuple[str, bytes], int] = {}
        for change in batch.changes:
            key = change.data_type, change.id
            assert isinstance(change.id, bytes), change
            was = self.newest.get(key, (-1, None))[0]
            assert was < change.version, f"{key} went back from {was} to {change.version}, before {self.position}"
            self.newest[key] = change.version, change.data
            newer[key] = change.version
            self.rejects.pop(key, None)
        for key in batch.resolved:
            self.rejects.pop(key, None)
        for reject in batch.rejects:
            if newer.get((reject.data_type, reject.id), -1) < reject.version:
                json.loads(reject.raw)
                self.rejects[reject.data_type, reject.id] = str(reject.error)
        self.position = json.loads(json.dumps(batch.position))

    def close(self) -> None:
        """The producer is gone, whatever it had read."""
        if self._producer is not None:
            self._producer.close()
            self._producer = None
