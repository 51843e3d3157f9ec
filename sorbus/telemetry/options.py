"""The command-line options that every long-running command shares; light, since `sorbus --help` imports it."""

from __future__ import annotations

from typing import Annotated

import typer

LOOPBACK = "127.0.0.1"

MetricsPort = Annotated[
    int, typer.Option(envvar="SORBUS_METRICS_PORT", help="Where /metrics and /healthz are served; 0 takes a free port.")
]
MetricsHost = Annotated[
    str, typer.Option(envvar="SORBUS_METRICS_HOST", help="The address to serve them on; 0.0.0.0 in a container.")
]
