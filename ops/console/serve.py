"""The console as a process."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sorbus.cli.refusal import LoginFiles, until_accepted
from sorbus.map.loaded import LoadedMap
from sorbus.ops.console.access.auth_config import AuthConfig
from sorbus.ops.console.access.authenticators import AccountAuth, Authenticator, Proxies
from sorbus.ops.console.access.host_policy import HostPolicy
from sorbus.ops.console.app import application
from sorbus.ops.console.background_jobs import BackgroundJobs
from sorbus.ops.console.company import Company
from sorbus.ops.console.live import Live
from sorbus.ops.console.page_context import Console
from sorbus.ops.decisions.kind import DecisionKind
from sorbus.ops.decisions.registry import DECISION_KINDS
from sorbus.ops.trace.keep_index import IndexKeeper
from sorbus.server import listen, serve
from sorbus.settings import Settings
from sorbus.state import State
from sorbus.telemetry.process import running
from sorbus.telemetry.stop import Stop


class Parts(NamedTuple):
    """What a console is made of before it measures anything."""

    loaded: LoadedMap
    settings: Settings
    state: State
    site: HostPolicy
    authenticator: Authenticator
    proxies: Proxies
    kinds: Sequence[DecisionKind] = DECISION_KINDS


def serve_console(
    loaded: LoadedMap,
    auth_config: AuthConfig,
    host: str,
    port: int,
    *,
    interval: float,
    metrics_host: str,
    metrics_port: int,
) -> None:
    """Serves until stopped. TransientError if a port is taken; AuthError if it would be open to everybody.

    Once it is open, a refused login doesn't close it: its pages say what is wrong.
    """
    with running("console", metrics_port, metrics_host) as process:

        def run() -> None:
            files = LoginFiles(loaded)
            with listen(host, port, "serve the console") as listener:
                state = State.of(loaded.map.topic_prefix)
                site = auth_config.site(host, listener.getsockname()[1])
                authenticator = auth_config.authenticator(host, site, state)
                logging.getLogger(__name__).info("the console is open", extra={"at": site.url})
                parts = Parts(loaded, Settings(), state, site, authenticator, Proxies(auth_config.trust_proxies))
                ready, refused = process.health.ready, files.begin_anew_if_changed
                run_console(parts, listener, process.stop, ready, interval=interval, refused=refused)

        until_accepted(run, process, loaded)


def run_console(
    parts: Parts,
    listener: socket.socket,
    stop: Stop,
    ready: Callable[[str | None], None],
    *,
    interval: float = 3.0,
    refused: Callable[[], None] = lambda: None,
) -> None:
    """Measures and serves until `stop`; `ready` hears every second why it isn't ready, or None.

    `refused` is called every second while a login is refused.
    """
    company = Company(parts.loaded, parts.settings, parts.state, parts.kinds)
    live = Live(company.measure, every=interval)
    live.each_round("the map", company.refresh)
    live.after_each("dead letters", company.catch_up)
    try:
        with live, IndexKeeper(lambda: company.loaded, parts.settings, parts.state):
            has_login = isinstance(parts.authenticator, AccountAuth)
            console = Console(
                company,
                parts.settings,
                parts.state,
                live,
                parts.site,
                BackgroundJobs(),
                parts.kinds,
                parts.proxies,
                has_login,
            )
            serve(
                application(console, parts.authenticator),
                listener,
                stop,
                lambda: _beat(live, ready, refused),
                ending=live.end,
                believe_proxies=False,
            )
    finally:
        company.close()


def _beat(live: Live, ready: Callable[[str | None], None], refused: Callable[[], None]) -> None:
    if live.is_refused():
        refused()
    if live.is_alive():
        ready("; ".join(live.troubles.values()) or None)
