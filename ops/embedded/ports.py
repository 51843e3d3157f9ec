"""Which ports a stack listens on, remembered in its folder so that a restarted stack keeps its addresses."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import socket
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sorbus.ops.embedded.errors import StackError

LOOPBACK = "127.0.0.1"

# Below Linux's ephemeral range (from 32768), so that no outgoing connection takes a port between choice and bind.
_CHOICE = range(20_000, 32_000)

_TABLES, _LISTENING = (Path("/proc/net/tcp"), Path("/proc/net/tcp6")), "0A"


@dataclass(frozen=True, slots=True)
class Ports:
    """One port per listener, all on 127.0.0.1; `controller` is Kafka's own and of no use to a client."""

    kafka: int
    controller: int
    registry: int
    database: int

    @classmethod
    def free(cls) -> Ports:
        """Four ports that nobody listens on now."""
        chosen = list(islice(_free_ports(), 4))
        if len(chosen) < 4:
            raise StackError(f"No four free ports from {_CHOICE.start} to {_CHOICE.stop} on {LOOPBACK}; pass --ports.")
        return cls(*chosen)

    def busy(self) -> list[str]:
        """The listeners whose port somebody else holds, as `kafka (9092)`."""
        return [f"{name} ({port})" for name, port in dataclasses.asdict(self).items() if not is_free(port)]

    def remember(self, file: Path) -> None:
        """Write the ports where `recall` finds them."""
        file.write_text(json.dumps(dataclasses.asdict(self)) + "\n", encoding="utf-8")

    @classmethod
    def recall(cls, file: Path) -> Ports | None:
        """The ports of the last run, or None for a new folder."""
        try:
            known = json.loads(file.read_text(encoding="utf-8"))
            return cls(**{field.name: int(known[field.name]) for field in dataclasses.fields(cls)})
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise StackError(f"{file} doesn't hold a stack's ports ({error}); delete it to have new ones.") from error


def free_port(preferred: int) -> int:
    """The preferred port if nobody listens on it, else another one."""
    return preferred if is_free(preferred) else next(_free_ports(), 0)


def listens(pids: Collection[int], port: int) -> bool:
    """Whether one of these processes is what answers on this port; another's server may have taken it meanwhile.

    True where the system doesn't tell: without /proc, or about processes of another user that we may not look into.
    """
    if not (tables := [table for table in _TABLES if table.exists()]):
        return True
    lines = [line.split() for table in tables for line in table.read_text("ascii").splitlines()[1:]]
    sockets = {f"socket:[{line[9]}]" for line in lines if line[3] == _LISTENING and line[1].endswith(f":{port:04X}")}
    for pid in pids:
        try:
            for file in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):  # closed while we looked
                    if str(file.readlink()) in sockets:
                        return True
        except PermissionError:
            return bool(sockets)
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended
    return False


def _free_ports() -> Iterator[int]:
    return filter(is_free, random.sample(_CHOICE, len(_CHOICE)))


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now (a port in TIME_WAIT counts as free)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
