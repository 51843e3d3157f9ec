"""The console as a process."""

from __future__ import annotations

import socket
from collections.abc import Callable

import structlog

from sorbus.dlq.desk import LetterDesk
from sorbus.map.load import LoadedMap
from sorbus.ops.console.access.door import Door, OpenDoor
from sorbus.ops.console.access.site import Site
from sorbus.ops.console.app import application
from sorbus.ops.console.frame import Console
from sorbus.ops.console.live import Live
from sorbus.ops.console.work import Works
from sorbus.ops.watch.opened import open_watch
from sorbus.server import listen, serve
from sorbus.settings import Settings
from sorbus.state import State
from sorbus.telemetry.process import running
from sorbus.telemetry.stop import Stop


def serve_console(
    loaded: LoadedMap, host: str, port: int, interval: float, metrics_host: str, metrics_port: int
) -> None:
    """Serves until stopped. TransientError if a port is taken."""
    with (
        running("console", metrics_port, metrics_host) as process,
        listen(host, port, "serve the console") as listener,
    ):
        site = Site(f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}")
        structlog.get_logger(__name__).info("the console is open", at=site.url)
        state = State.of(loaded.map.topic_prefix)
        run_console(
            loaded, Settings(), state, site, OpenDoor(), listener, process.stop, process.health.ready, interval=interval
        )


def run_console(
    loaded: LoadedMap,
    settings: Settings,
    state: State,
    site: Site,
    door: Door,
    listener: socket.socket,
    stop: Stop,
    ready: Callable[[str | None], None],
    *,
    interval: float = 3.0,
) -> None:
    """Measures and serves until `stop`; `ready` hears every second why it isn't ready, or None."""
    watch = open_watch(loaded, settings)
    letters = LetterDesk(loaded, settings, state)
    live = Live(watch.measure, every=interval)
    live.each_round("dead letters", letters.index.catch_up)
    try:
        with live:
            app = application(Console(loaded, settings, state, live, site, letters, Works()), door)
            serve(app, listener, stop, lambda: ready("; ".join(live.troubles.values()) or None), ending=live.end)
    finally:
        letters.index.close()
        watch.close()
