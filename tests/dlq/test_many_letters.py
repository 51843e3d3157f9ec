"""A hundred thousand letters: listed, grouped, sent back and landed; nothing is lost or doubled."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from sorbus.bus.kafka import all_partitions, bytes_of, read_to_end, topic_reader
from sorbus.dlq.store import LetterFilter, LetterStore
from sorbus.state.database import State
from tests.consumers.line import FLOW, SORBUS, Line, eventually
from tests.dlq.post import Post

COUNT = 100_000
CAUSES = 4
MEGABYTES = 300


class Ran(NamedTuple):
    """What a command told, how long it took and how much memory it had at most."""

    output: str
    seconds: float
    megabytes: float


def run(line: Line, *arguments: str) -> Ran:
    """Runs a command to its end."""
    began, most = time.monotonic(), [0.0]
    popen = subprocess.Popen([SORBUS, *arguments], env=line.env, cwd=line.folder, stdout=subprocess.PIPE, text=True)
    watch = threading.Thread(target=_watch, args=(popen.pid, most))
    watch.start()
    output, _ = popen.communicate()
    watch.join()
    assert popen.returncode == 0, output
    return Ran(output, time.monotonic() - began, most[0])


def _watch(pid: int, most: list[float]) -> None:
    """Notes a process's peak memory in MB as long as it lives; what a parent had at the fork doesn't count there."""
    while True:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        if found is None:  # it has ended
            return
        most[0] = int(found[1]) / 1024
        time.sleep(0.02)


@pytest.mark.slow
def test_a_hundred_thousand_letters(line: Line, post: Post, state: State, capsys: pytest.CaptureFixture[str]) -> None:
    def say(words: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{words}")
            sys.stdout.flush()

    def tell(what: str, ran: Ran) -> None:
        say(f"{what}: {ran.seconds:.1f} s, {ran.megabytes:.0f} MB")
        assert ran.megabytes < MEGABYTES, what

    post.write(
        replace(post.letter(number, reason=f"Reason{number % CAUSES}"), id=f"{FLOW}:{line.topic}:0:{number}")
        for number in range(COUNT)
    )
    first = run(line, "dlq", "groups", "--json")
    tell(f"index {COUNT} letters for the first time, and group them", first)
    groups = [json.loads(row) for row in first.output.splitlines()]
    assert [group["count"] for group in groups] == [COUNT // CAUSES] * CAUSES

    grouped = run(line, "dlq", "groups")
    tell("group them", grouped)
    listed = run(line, "dlq", "list")
    tell("list the first hundred", listed)
    assert f"{COUNT} open" in listed.output
    exported = run(line, "dlq", "export")
    tell("export all", exported)
    assert len({json.loads(row)["id"] for row in exported.output.splitlines()}) == COUNT

    store, times = LetterStore(state), dict[str, float]()
    for name, ask in {
        "groups": lambda: store.groups(LetterFilter()),
        "first page": lambda: store.page(LetterFilter(), most=50),
        "page of a cause": lambda: store.page(LetterFilter(cause=groups[0]["cause"]), most=50),
        "count": lambda: store.count(LetterFilter()),
    }.items():
        began = time.monotonic()
        ask()
        times[name] = time.monotonic() - began
    say("in the index: " + ", ".join(f"{name} {1000 * took:.0f} ms" for name, took in times.items()))
    assert max(times.values()) < 2

    sent = run(line, "dlq", "requeue", "--all")
    tell("send all back", sent)
    assert f"{COUNT} requeued" in sent.output
    keys = _keys(line)
    assert len(keys) == COUNT, "each is on the requeue topic once"
    assert len(set(keys)) == COUNT

    index, began = post.index(), time.monotonic()

    def is_closed() -> bool:
        index.catch_up()
        return store.count(LetterFilter()) == 0

    with line.process():
        eventually(is_closed, "the closing of all letters", 300)
    say(f"landed, closed and read so: {time.monotonic() - began:.1f} s")
    assert line.letters() == []
    assert _rows(line) == COUNT
    assert "everything has landed" in run(line, "dlq", "list").output
    with psycopg.connect(line.env["SORBUS_DATABASE"]) as connection:
        query = f"select state, count(*), count(frame) from {state.schema}.letter group by state"
        assert connection.execute(query.encode()).fetchall() == [("landed", COUNT, 0)]
        parts = (
            f"select action, count(distinct subject), count(*) from {state.schema}.audit"
            " where part_of is not null group by action order by action"
        )
        assert connection.execute(parts.encode()).fetchall() == [("landed", COUNT, COUNT), ("requeue", COUNT, COUNT)]


def _keys(line: Line) -> list[bytes]:
    reader = topic_reader(line.settings, "count")
    try:
        partitions = all_partitions(reader, line.names.requeue(FLOW))
        return [bytes_of(message.key()) for message in read_to_end(reader, partitions)]
    finally:
        reader.close()


def _rows(line: Line) -> int:
    row = line.connection.execute("select count(*) from gadgets").fetchone()
    assert row is not None
    return int(str(row[0]))
