"""kill -9 between the POST and its being noted: no record is made twice, and none is lost."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sorbus.connector import BoundFlow
from tests.conftest import Report
from tests.consumers.http.house import House
from tests.http_api.faulty_http import Fault
from tests.http_api.faulty_records import Write

EACH = 2
MOMENTS: list[Fault | None] = ["timeout-after", None, "timeout-after", "timeout-before"]
"""Carried out and never answered; carried out and killed while the answer is on its way; not carried out at all."""


class Zygote:
    """See zygote.py."""

    def __init__(self, popen: subprocess.Popen[str], log: Path) -> None:
        self._popen, self._log = popen, log

    def begin(self, first: int, end: int) -> int:
        """Delivers these contacts in a process of its own; its pid."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(f"{first} {end}\n")
        self._popen.stdin.flush()
        return int(self._said("began"))

    def ended(self) -> int:
        """The process's end: its status, negative for a signal."""
        return int(self._said("ended"))

    def _said(self, word: str) -> str:
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        assert line.startswith(word), f"{line!r} in place of {word}:\n{self._log.read_text()}"
        return line.split()[1]


@contextmanager
def zygote(flow: BoundFlow, dsn: str, folder: Path) -> Iterator[Zygote]:
    (folder / "flow.pickle").write_bytes(pickle.dumps(flow))
    log = folder / "zygote.log"
    with log.open("w") as errors:
        popen = subprocess.Popen(
            [sys.executable, "-m", "tests.consumers.http.zygote", str(folder / "flow.pickle"), dsn],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=Path(__file__).parents[3],
        )
    try:
        yield Zygote(popen, log)
    finally:
        popen.kill()
        popen.wait(10)


@pytest.mark.parametrize(
    ("way", "kills"),
    [("key", 4), ("list", 4), *(pytest.param(way, 200, marks=pytest.mark.slow) for way in ("key", "marker", "list"))],
)
def test_killed_between_post_and_commit(
    house: House, state_dsn: str, tmp_path: Path, report: Report, way: str, kills: int
) -> None:
    faulty = house.faulty
    faulty.idempotent = way == "key"
    description: dict[str, object] = {"timeout": 30} | ({} if way == "key" else {"idempotency_header": ""})
    kind = {"resource": "unsearchable", "on_duplicate": "create"} if way == "list" else {}
    flow = house.flow(**kind, **description)  # type: ignore[arg-type]
    arrived = threading.Event()

    def on_request(method: str, path: str, parameters: dict[str, str]) -> None:
        if method == "POST" and not waits_for_write:
            arrived.set()

    def on_write(write: Write) -> None:
        if waits_for_write:
            arrived.set()

    faulty.before, faulty.records.heard = on_request, on_write
    round = killed = open = 0
    with zygote(flow, state_dsn, tmp_path) as nursery:
        while killed < kills:
            moment = MOMENTS[round % len(MOMENTS)]
            waits_for_write = moment != "timeout-before"
            arrived.clear()
            if moment is not None:
                faulty.script("POST", "/contacts", moment)
            # The batch before comes again too: its offsets were never committed.
            batch = range(max(0, round - 1) * EACH, (round + 1) * EACH)
            pid = nursery.begin(batch.start, batch.stop)
            assert arrived.wait(30), f"no POST arrived in round {round}"
            os.kill(pid, signal.SIGKILL)
            killed += nursery.ended() == -signal.SIGKILL
            links = [house.link(f"c{n}") for n in batch]
            open += any(link is not None and link.state == "intended" for link in links)
            round += 1
            assert round < 1.2 * kills + 2, f"only {killed} of {round} processes were killed in time"
        waits_for_write = True
        nursery.begin(0, round * EACH)
        assert nursery.ended() == 0
    made = sorted(str(write.after["name"]) for write in faulty.writes if write.did == "create" and write.after)
    report(f"{way}: {killed} killed, {open} of them between POST and commit; {round * EACH} records, {len(made)} made")
    assert made == sorted(f"P {n}" for n in range(round * EACH))
    assert {house.linked(f"c{n}") for n in range(round * EACH)} == set(faulty.contacts())
    assert open >= 0.9 * kills - 1, "hardly any process was killed while its POST was under way"
