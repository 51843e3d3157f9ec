"""What supervised processes print: one stream, each line saying whose it is."""

from __future__ import annotations

import json
import os
import zlib
from typing import TextIO

_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)


class Output:
    """Writes whole lines to one stream: prefixed on a terminal, JSON elsewhere."""

    def __init__(self, stream: TextIO, names: list[str]) -> None:
        self._stream = stream
        self.is_terminal = stream.isatty()
        self._width = max((len(name) for name in names), default=0)
        self._rest: dict[int, bytes] = {}

    def copy(self, descriptor: int, name: str) -> bool:
        """Takes what a process has printed; False if there is nothing, as when it has closed its output."""
        try:
            data = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            data = b""
        *lines, rest = (self._rest.pop(descriptor, b"") + data).split(b"\n")
        if not data and rest:
            lines.append(rest)
        elif rest:
            self._rest[descriptor] = rest
        for line in lines:
            self._write(name, line.decode("utf-8", "replace"))
        if lines:
            self._stream.flush()
        return bool(data)

    def say(self, name: str, words: str) -> None:
        """A line of the supervisor's own about a process."""
        self._write(name, words if self.is_terminal else json.dumps({"process": name, "level": "info", "event": words}))
        self._stream.flush()

    def _write(self, name: str, line: str) -> None:
        if self.is_terminal:
            colour = _COLOURS[zlib.crc32(name.encode()) % len(_COLOURS)]
            self._stream.write(f"\x1b[{colour}m{name:<{self._width}} |\x1b[0m {line}\n")
        elif line.startswith("{"):
            self._stream.write(f"{line}\n")
        else:
            self._stream.write(json.dumps({"process": name, "event": line}) + "\n")
