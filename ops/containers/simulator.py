"""The example company's people, in a container: they fill the CRM once, then change it at a steady pace.

`python -m sorbus.ops.containers.simulator`, with the CRM's address in CRM_DSN and changes a second in RATE.
"""

from __future__ import annotations

import logging
import os
from threading import Event, Thread

import psycopg

from sorbus.ops.demo.crm_feed import CRM_FEED, next_number
from sorbus.ops.demo.seed import seed_crm
from sorbus.telemetry.logs import configure_logs
from sorbus.telemetry.stop import Stop


def main() -> None:
    """Works until stopped."""
    configure_logs("staff")
    stop, over = Stop.on_signals(), Event()
    log, dsn = logging.getLogger(__name__), os.environ["CRM_DSN"]
    with psycopg.connect(dsn) as connection:
        if connection.execute("select from customers limit 1").fetchone() is None:
            log.info("the CRM is filled", extra=seed_crm(connection))
        start = next_number(connection)
    work = Thread(
        target=CRM_FEED.run,
        args=(dsn,),
        kwargs={
            "rate": float(os.environ.get("RATE", "5")),
            "stop": over,
            "start": start,
            "reached": lambda _: None,
            "said": log.info,
        },
        daemon=True,
    )
    work.start()
    while work.is_alive() and not stop.wait(1.0):
        pass
    over.set()
    work.join()


if __name__ == "__main__":
    main()
