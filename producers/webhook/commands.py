"""`sorbus webhooks`: what the applications post to, as a process."""

from __future__ import annotations

from typing import Annotated

import typer

from sorbus.cli.context import Context
from sorbus.telemetry.options import LOOPBACK, MetricsHost, MetricsPort

app = typer.Typer()


@app.command()
def webhooks(
    ctx: typer.Context,
    port: Annotated[
        int, typer.Option(envvar="SORBUS_WEBHOOKS_PORT", help="Where applications post to; 0 takes a free port.")
    ] = 9480,
    host: Annotated[
        str, typer.Option(envvar="SORBUS_WEBHOOKS_HOST", help="The address to listen on; 0.0.0.0 in a container.")
    ] = LOOPBACK,
    metrics_port: MetricsPort = 0,
    metrics_host: MetricsHost = LOOPBACK,
) -> None:
    """Receive the webhooks of every system that has a `webhook_secret`, at /webhooks/SYSTEM, until stopped.

    Put it behind a proxy that speaks TLS, and expose nothing but /webhooks/. Polling goes on underneath: an HTTP
    application's webhook only makes its producer look sooner. Systems of kind webhook post their records here.

    Example: sorbus --map company/map.yaml webhooks --port 9480 --metrics-port 9470
    """
    import logging

    from sorbus.bus.inbox import InboxWriter
    from sorbus.bus.names import Names
    from sorbus.bus.status import reporting
    from sorbus.cli.refusal import until_accepted
    from sorbus.errors import SorbusError
    from sorbus.producers.webhook.receivers import WebhookReceiver, receivers_of
    from sorbus.producers.webhook.record_receiver import RecordReceiver, record_receivers_of
    from sorbus.producers.webhook.service import WebhookEndpoint, application
    from sorbus.server import listen, serve
    from sorbus.settings import Settings
    from sorbus.telemetry.process import running

    loaded, settings = Context.of(ctx).load_sound(), Settings()
    names = Names(loaded.map.topic_prefix)
    heard: dict[str, WebhookReceiver | RecordReceiver] = {**receivers_of(loaded), **record_receivers_of(loaded)}
    if not heard:
        raise SorbusError("no system of record has webhooks; write webhook_secret: ${…} into a system's connection")
    with (
        running("webhooks", metrics_port, metrics_host) as process,
        reporting(settings, names, "webhooks", process.health),
    ):

        def run() -> None:
            # Closed while it waits for a person: applications that can't connect send again later.
            with listen(host, port, "receive webhooks") as listener:
                writer = InboxWriter(settings, names)
                try:
                    deliveries = WebhookEndpoint(heard, writer)
                    address = f"http://{host}:{listener.getsockname()[1]}/webhooks/"
                    logging.getLogger(__name__).info(
                        "receiving webhooks", extra={"at": address, "systems": sorted(heard)}
                    )

                    def beat() -> None:
                        if deliveries.refused is not None:
                            raise deliveries.refused
                        process.health.ready(deliveries.trouble())

                    serve(application(deliveries), listener, process.stop, beat)
                finally:
                    writer.close()

        until_accepted(run, process, loaded)
