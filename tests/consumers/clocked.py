"""`sorbus consume` by a clock that the test sets: `clocked.py FLOW CLOCK`, the clock a file of seconds since 1970.

The file CLOCK.seen has the time of the loop's last round, the number of rounds, and when it delivers next.
"""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from sorbus.consumers.loop import ConsumeLoop
from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.map.load import load_map
from sorbus.settings import Settings
from sorbus.telemetry.health import Health
from sorbus.telemetry.metrics import ConsumerMetrics
from sorbus.telemetry.stop import Stop


def main(flow: str, path: str) -> None:
    clock, rounds = Path(path), 0
    seen, new = clock.with_suffix(".seen"), clock.with_suffix(".new")
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    bound = load_map(Path(os.environ["SORBUS_MAP"])).flow(flow)
    loop = ConsumeLoop(
        lambda: PostgresConsumer(bound),
        bound,
        Settings(),
        health=Health(),
        metrics=ConsumerMetrics(flow, bound.flow.data_type, bound.flow.to),
        stop=Stop(),
        clock=lambda: datetime.fromtimestamp(float(clock.read_text()), UTC),
    )
    wait = loop._schedule.wait

    def counted() -> bool:
        nonlocal rounds
        time, may_read = clock.read_text(), wait()
        rounds += 1
        due = loop._schedule._due
        new.write_text(f"{time} {rounds} {due.timestamp() if due else 0}")
        new.replace(seen)
        return may_read

    loop._schedule.wait = counted  # type: ignore[method-assign]
    loop.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
