"""`sorbus produce`: one system's producer as a process."""

from __future__ import annotations

from typing import Annotated

import typer

from sorbus.cli.context import Context
from sorbus.telemetry.options import LOOPBACK, MetricsHost, MetricsPort

app = typer.Typer()


@app.command()
def produce(
    ctx: typer.Context,
    system: Annotated[str, typer.Argument(help="The system of record to capture from.")],
    metrics_port: MetricsPort = 0,
    metrics_host: MetricsHost = LOOPBACK,
) -> None:
    """Capture a system's changes and publish them, until stopped.

    Example: sorbus --map company/map.yaml produce crm --metrics-port 9401
    """
    from sorbus.bus.names import Names
    from sorbus.bus.status import reporting
    from sorbus.cli.refusal import until_accepted
    from sorbus.errors import SorbusError
    from sorbus.history.recorder import HistoryRecorder
    from sorbus.producers.loop import ProduceLoop
    from sorbus.producers.progress import copy_progress
    from sorbus.settings import Settings
    from sorbus.telemetry.metrics import ProducerMetrics
    from sorbus.telemetry.process import collect_seldom, running

    loaded, settings = Context.of(ctx).load_sound(), Settings()
    bound = loaded.system(system, "producer")
    sources = loaded.sources(system)
    if not sources:
        raise SorbusError(f"{system} is the system of record of nothing; name it under `data_types:` in the map")
    connector = loaded.producer(system)
    with (
        running(f"produce {system}", metrics_port, metrics_host, stale_after=120) as process,
        reporting(settings, Names(bound.topic_prefix), f"produce {system}", process.health),
        copy_progress() as progress,
        HistoryRecorder.of("capture", system, bound.topic_prefix) as history,
    ):
        collect_seldom()
        metrics = ProducerMetrics(system)

        def run() -> None:
            ProduceLoop(
                lambda: connector(bound, sources),
                bound,
                sources,
                settings,
                health=process.health,
                metrics=metrics,
                stop=process.stop,
                progress=progress,
                history=history,
            ).run()

        until_accepted(run, process, loaded, system)
