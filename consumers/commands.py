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
    from sorbus.consumers.loop import ConsumeLoop
    from sorbus.settings import Settings
    from sorbus.telemetry.health import Health, HealthServer
    from sorbus.telemetry.logs import configure_logs
    from sorbus.telemetry.metrics import ConsumerMetrics
    from sorbus.telemetry.stop import Stop
    from sorbus.waiting.complete import consumer_of

    loaded = Context.of(ctx).load_sound()
    configure_logs(f"consume {flow}")
    bound = loaded.flow(flow)
    connector = loaded.consumer(bound.flow.to)
    health, stop = Health(stale_after=120), Stop.on_signals()
    with HealthServer(health, process=f"consume {flow}", port=metrics_port, host=metrics_host):
        ConsumeLoop(
            lambda: consumer_of(connector, bound),
            bound,
            Settings(),
            health=health,
            metrics=ConsumerMetrics(flow, bound.flow.data_type, bound.system.name),
            stop=stop,
        ).run()
