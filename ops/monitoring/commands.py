"""`sorbus status` and `sorbus watch`: how every flow is doing, measured from outside its processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.errors import ExitCode
from sorbus.telemetry.options import LOOPBACK, MetricsHost, MetricsPort

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sorbus.mapfile.model import Map
    from sorbus.ops.digest.delivery import DailyDelivery
    from sorbus.ops.monitoring.measure import Watch
    from sorbus.settings import Settings

app = typer.Typer()

_PIPED = 200
"""Columns where no terminal says how many there are."""
Interval = Annotated[float, typer.Option(min=0.5, help="Seconds between two measurements.")]


@app.command()
def status(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="The measurement as JSON.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep the table up to date until Ctrl-C.")] = False,
    check: Annotated[bool, typer.Option(help="Exit with 1 if any flow needs attention.")] = False,
    interval: Interval = 2.0,
) -> None:
    """How every flow is doing: lag in records and seconds, rate, dead letters, last change.

    Measured at Kafka, in the sources and in the state, so that a dead consumer shows. Below the table: what is left of
    the rate limits of systems behind HTTP, and which of them are down. The rate needs two measurements: use --watch.

    Examples: `sorbus status`, `sorbus status --watch`, `sorbus status --json | jq '.flows[].lag_records'`,
    `sorbus status --check` in a script
    """
    import os

    from rich.console import Console
    from rich.json import JSON

    from sorbus.errors import TransientError
    from sorbus.ops.monitoring.status import as_json as to_json
    from sorbus.ops.monitoring.status import as_table
    from sorbus.ops.monitoring.supervisor_report import explained
    from sorbus.ops.runtime.commands import RUN_FOLDER
    from sorbus.telemetry.logs import configure_logs

    configure_logs("status", level="WARNING")
    watcher = _open(ctx)
    try:
        if watch:
            _follow(watcher, interval, as_json)
            return
        measurement = watcher.measure()
    except TransientError as error:
        raise explained(error, RUN_FOLDER) from error
    finally:
        watcher.close()
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _PIPED  # for grep, and mails of cron: what a line is about stays in it
    console.print(
        JSON.from_data(to_json(measurement)) if as_json else as_table(measurement), soft_wrap=as_json, crop=False
    )
    if check and measurement.complaints():
        raise typer.Exit(ExitCode.FINDINGS)


@app.command("watch")
def watch_command(
    ctx: typer.Context,
    interval: Annotated[float, typer.Option(min=0.5, max=60, help="Seconds between two measurements.")] = 10.0,
    metrics_port: MetricsPort = 0,
    metrics_host: MetricsHost = LOOPBACK,
    digest: Annotated[
        str, typer.Option(envvar="SORBUS_DIGEST", metavar="TIME", help="Mail owners their digest daily at this time.")
    ] = "",
    digest_to: Annotated[
        list[str] | None, typer.Option("--digest-to", help="An address whose digest tells everything.")
    ] = None,
) -> None:
    """Measure every flow again and again, and serve the figures to Prometheus.

    One of these per map. A consumer that is dead can't say so itself; this process says it. With --digest it also mails
    what `sorbus digest --send` would, each digest once, even if several of these run.

    Examples: `sorbus watch --metrics-port 9400`, `sorbus watch --digest 08:00 --digest-to ops@example.com`
    """
    import logging
    import time

    from prometheus_client import REGISTRY

    from sorbus.cli.refusal import LoginFiles, until_accepted
    from sorbus.errors import TransientError
    from sorbus.ops.decisions.registry import DECISION_KINDS
    from sorbus.ops.monitoring.build_monitor import open_watch
    from sorbus.ops.monitoring.exporter import FAILURES, MapCollector, WatchCollector, show_unsent
    from sorbus.ops.monitoring.problems import Problem
    from sorbus.settings import Settings
    from sorbus.telemetry.process import running

    loaded, settings = Context.of(ctx).load(), Settings()
    watcher, collector = open_watch(loaded, settings, DECISION_KINDS), WatchCollector()
    people = MapCollector(loaded.map, settings.console_url)
    recurring = [work for kind in DECISION_KINDS if (work := kind.recurring(loaded, settings)) is not None]
    daily = _daily(loaded.map, settings, digest, digest_to or ()) if digest else None
    REGISTRY.register(collector)
    REGISTRY.register(people)
    try:
        with running("watch", metrics_port, metrics_host, stale_after=max(90.0, 3 * interval)) as process:
            files = LoginFiles(loaded)

            def run() -> None:
                while not process.stop.is_set():
                    if watcher.is_refused:  # it isn't tried again with the same login, so it is begun with a new one
                        files.begin_anew_if_changed()
                    try:
                        measured = watcher.measure()
                        collector.show(measured)
                        process.health.ready()
                        if daily is not None:
                            daily.after(measured)
                            show_unsent(daily.unsent)
                        for work in recurring:
                            work()
                    except TransientError as error:
                        FAILURES.inc()
                        dependency = error.dependency or "kafka"
                        collector.fail(Problem("dependency", dependency, "unreachable", time.time(), str(error)))
                        process.health.ready(f"the flows can't be measured: {error}")
                        logging.getLogger(__name__).warning("measuring failed", extra={"error": error})
                    process.stop.wait(interval)

            until_accepted(run, process, loaded)
    finally:
        REGISTRY.unregister(collector)
        REGISTRY.unregister(people)
        watcher.close()


def _daily(company: Map, settings: Settings, at: str, to: Sequence[str]) -> DailyDelivery:
    from sorbus.drift.watch import has_state
    from sorbus.ops.digest.delivery import DailyDelivery, DigestDelivery
    from sorbus.state import State

    if not has_state(settings) or not settings.mail_server:
        raise typer.BadParameter("--digest needs SORBUS_DATABASE, SORBUS_MAIL_SERVER and SORBUS_MAIL_FROM")
    try:
        return DailyDelivery(DigestDelivery(company, settings, State.of(company.topic_prefix), to), at)
    except ValueError as error:
        raise typer.BadParameter(f"--digest: write a time such as 08:00 or 08:00 Europe/London ({error})") from error


def _open(ctx: typer.Context) -> Watch:
    from sorbus.ops.decisions.registry import DECISION_KINDS
    from sorbus.ops.monitoring.build_monitor import open_watch
    from sorbus.settings import Settings

    return open_watch(Context.of(ctx).load(), Settings(), DECISION_KINDS)


def _follow(watcher: Watch, interval: float, as_json: bool) -> None:
    """Shows measurements until Ctrl-C or SIGTERM; as JSON one line each."""
    import json

    from rich.console import Console
    from rich.live import Live

    from sorbus.ops.monitoring.status import as_json as to_json
    from sorbus.ops.monitoring.status import as_table
    from sorbus.telemetry.stop import Stop

    stop = Stop.on_signals()
    if as_json:
        while not stop.is_set():
            typer.echo(json.dumps(to_json(watcher.measure())))
            stop.wait(interval)
        return
    with Live(console=Console(), auto_refresh=False, transient=False) as live:
        while not stop.is_set():
            live.update(as_table(watcher.measure()), refresh=True)
            stop.wait(interval)
