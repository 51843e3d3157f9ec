"""Many senders that change their own records and post each change until it is accepted; and what they know."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
Record = dict[str, Any]


class Senders:
    """`post(body, id)` sends one body and returns the answer's status; posts are repeated until it is 2xx.

    Each sender owns records, and may send late: a change after the one that follows it. `records` is what must be
    there in the end.
    """

    def __init__(
        self, post: Callable[[bytes, str], int], *, senders: int, changes: int, records: int, batch: int = 1
    ) -> None:
        self._post, self._batch = post, batch
        self.records: dict[str, Record] = {}
        self.sent = self.retried = self.repeated = self.late = 0
        self.errors: list[BaseException] = []
        self._lock = threading.Lock()
        share, own = changes // senders, records // senders
        self._threads = [
            threading.Thread(target=self._run, args=(number, share, own), daemon=True) for number in range(senders)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def is_done(self) -> bool:
        assert not self.errors, self.errors
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self, number: int, changes: int, own: int) -> None:
        try:
            self._work(number, changes, own)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            self.errors.append(error)

    def _work(self, number: int, changes: int, own: int) -> None:
        chance = random.Random(number)
        held: list[Record] = []
        made, at = 0, 0
        while made < changes:
            ids = chance.sample(range(own), self._batch)
            bodies = []
            for id in ids:
                at += 1
                made += 1
                bodies.append(self._change(f"{number}-{id}", at, chance))
            if chance.random() < 0.1 and not held:  # sent late, after what follows it
                held = bodies
                self.late += len(bodies)
                continue
            self._send(bodies, f"msg-{number}-{at}", chance)
            if held:
                self._send(held, f"msg-{number}-{at}-late", chance)
                held = []
        if held:
            self._send(held, f"msg-{number}-end", chance)

    def _change(self, id: str, at: int, chance: random.Random) -> Record:
        moment = (BEGAN + timedelta(seconds=at)).isoformat()
        if chance.random() < 0.1:
            with self._lock:
                self.records.pop(id, None)
            return {"number": id, "status": "left", "changed_at": moment}
        record = {"name": f"Name {at} ü", "note": chance.choice(["00123", None, "a\nb", "日本"]), "price": f"{at}.50"}
        with self._lock:
            self.records[id] = record
        return {**record, "number": id, "status": "active", "changed_at": moment}

    def _send(self, bodies: list[Record], id: str, chance: random.Random) -> None:
        raw = json.dumps(bodies if self._batch > 1 else bodies[0]).encode()
        times = 2 if chance.random() < 0.05 else 1
        self.repeated += times - 1
        for _ in range(times):
            while True:
                try:
                    status = self._post(raw, id)
                except httpx.HTTPError:
                    status = 0
                if 200 <= status < 300:
                    break
                assert status in (0, 404, 408, 429, 500, 502, 503), f"{id} was answered {status}"
                self.retried += 1
                time.sleep(0.2)
        self.sent += len(bodies)
