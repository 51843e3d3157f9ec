"""`sorbus consume`: one flow's consumer as a process."""

from __future__ import annotations

from typing import Annotated

import typer

from sorbus.cli.context import Context
from sorbus.telemetry.options import LOOPBACK, MetricsHost, MetricsPort

app = typer.Typer()


@app.command()
def consume(
    ctx: typer.Context,
    flow: Annotated[str, typer.Argument(help="The flow to deliver, such as customer-to-accounting.")],
    metrics_port: MetricsPort = 0,
    metrics_host: MetricsHost = LOOPBACK,
) -> None:
    """Deliver a flow's changes to its target, until stopped. Several of one flow share its partitions.

    Example: sorbus --map company/map.yaml consume customer-to-accounting --metrics-port 9402
    """
    from sorbus.bus.names import Names
    from sorbus.bus.status import reporting
    from sorbus.cli.refusal import until_accepted
    from sorbus.consumers.loop import ConsumeLoop
    from sorbus.history.recorder import HistoryRecorder
    from sorbus.settings import Settings
    from sorbus.telemetry.metrics import ConsumerMetrics
    from sorbus.telemetry.process import collect_seldom, running
    from sorbus.waiting.complete import consumer_of

    loaded, settings = Context.of(ctx).load_sound(), Settings()
    bound = loaded.flow(flow)
    connector = loaded.consumer(bound.flow.to)
    names = Names(bound.system.topic_prefix)
    with (
        running(f"consume {flow}", metrics_port, metrics_host, stale_after=120) as process,
        reporting(settings, names, f"consume {flow}", process.health),
        HistoryRecorder.of("delivery", flow, bound.system.topic_prefix) as history,
    ):
        collect_seldom()
        metrics = ConsumerMetrics(flow, bound.flow.data_type, bound.system.name)

        def run() -> None:
            ConsumeLoop(
                lambda: consumer_of(connector, bound),
                bound,
                settings,
                health=process.health,
                metrics=metrics,
                stop=process.stop,
                history=history,
            ).run()

        until_accepted(run, process, loaded, bound.flow.to)
