"""A tap that writes what a test says, and what is asked of what came of it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

from sorbus.conformance.in_memory_bus import InMemoryBus
from sorbus.errors import PartialOutage
from tests.conformance.test_singer import SCHEMA, TapThings

Line = Mapping[str, object] | bytes


class ToldThings(TapThings):
    """A tap that writes these lines."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.lines, self.seen = folder / "lines", folder / "seen"
        self.connection = {
            **self.connection,
            "config": {
                "lines": str(self.lines),
                "resumed": str(folder / "lines.resumed"),
                "seen": str(self.seen),
                "api_token": "hunter2-token",
            },
        }
        self.options = {"stream": "things"}
        self.fields = frozenset({"name", "amount", "count", "note"})

    def say(self, *lines: Line) -> None:
        text = b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
        self.lines.with_suffix(".new").write_bytes(text)
        self.lines.with_suffix(".new").replace(self.lines)

    def resumes_with(self, *lines: Line) -> None:
        """What it says instead when its state has `last`."""
        written = self.lines.read_bytes()
        self.say(*lines)
        self.lines.replace(self.lines.with_suffix(".resumed"))
        self.lines.write_bytes(written)

    def started_with(self) -> list[object]:
        return [json.loads(line)["state"] for line in self.seen.read_text("utf-8").splitlines()]


def schema(**more: object) -> Line:
    return {"type": "SCHEMA", "stream": "things", "schema": SCHEMA, "key_properties": ["id"], **more}


def record(id: object, name: str = "a", **more: object) -> Line:
    return {"type": "RECORD", "stream": "things", "record": {"id": id, "name": name, **more}}


def state(value: object) -> Line:
    return {"type": "STATE", "value": {"bookmarks": {"things": value}}}


def names(tape: InMemoryBus) -> dict[str, object]:
    return {id: thing["name"] for id, thing in tape.live().items()}


def until_names(tape: InMemoryBus, **wanted: str) -> None:
    tape.until(lambda: names(tape) == wanted, lambda: f"{names(tape)} is not {wanted}; rejected {tape.rejected}")


def fault(tape: InMemoryBus) -> str:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            tape.step()
        except PartialOutage as error:
            return str(error)
    raise AssertionError("no fault within 10 s")


def runs(tape: InMemoryBus, source: ToldThings, count: int) -> None:
    """So many more runs come to their end."""
    wanted = (len(source.started_with()) if source.seen.exists() else 0) + count + 1
    tape.until(lambda: source.seen.exists() and len(source.started_with()) >= wanted, lambda: "too few runs")
