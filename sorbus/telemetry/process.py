"""Setup and teardown of every long-running command: logs, graceful stop, /metrics and /healthz.

with running("consume order-to-reporting", port, host) as process:
    while not process.stop.is_set():
        ...
        process.health.beat()
"""

from __future__ import annotations

import ctypes
import gc
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from sorbus.errors import TransientError
from sorbus.telemetry.health import Health, HealthServer, SharedHealth
from sorbus.telemetry.logs import configure_logs
from sorbus.telemetry.options import LOOPBACK
from sorbus.telemetry.stop import Stop

_ARENA_MAX, _ARENAS = -8, 2
"""glibc's M_ARENA_MAX. By default a process of many threads keeps what each has freed in up to 16 arenas."""


@dataclass(frozen=True, slots=True)
class Process:
    """A loop's stop event, its health, and the server of both."""

    stop: Stop
    health: Health
    port: int


@contextmanager
def running(
    name: str,
    port: int = 0,
    host: str = LOOPBACK,
    *,
    level: str = "INFO",
    stale_after: float = 60.0,
    parts: Mapping[str, Health] | None = None,
) -> Iterator[Process]:
    """Logs, signals and health during its block; TransientError if the port is taken.

    `stale_after` is in seconds: how long the loop may go without a beat before the process counts as stuck. The block
    must tolerate `kill -9` at any moment: waits still pending after a stop are interrupted (`Stop.breaking_off`).
    `parts`: the health of each, where the process runs several; by name.
    """
    _share_freed_memory()
    configure_logs(name, level=level)
    log = logging.getLogger(__name__)
    stop = Stop.on_signals()
    health = SharedHealth(parts) if parts else Health(stale_after=stale_after)
    try:
        server = HealthServer(health, process=name, port=port, host=host, parts=parts)
    except OSError as error:
        raise TransientError(
            f"{name}: can't serve /metrics on {host}:{port}: {error.strerror}; choose another --metrics-port, or 0"
        ) from error
    with server:
        log.info("started", extra={"metrics": f"http://{host}:{server.port}/metrics"})
        try:
            with stop.breaking_off():
                yield Process(stop, health, server.port)
        finally:
            log.info("stopped")


def collect_seldom() -> None:
    """Configures Python's garbage collector for a loop that makes many objects a second and almost no cycles.

    By default it would traverse the batch in progress repeatedly, a fifth of the hot path's time.
    """
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def _share_freed_memory() -> None:
    """What one thread has freed, such as a batch of messages, serves the others too. Does nothing where not glibc's."""
    try:
        ctypes.CDLL(None).mallopt(_ARENA_MAX, _ARENAS)
    except (AttributeError, OSError, TypeError) as error:
        logging.getLogger(__name__).debug("memory is kept by thread: %s", error)
