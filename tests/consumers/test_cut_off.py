"""A topic that an unclean leader election has cut off behind what a flow has read, filled up since."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sorbus.ops.embedded import Addresses
from sorbus.ops.embedded.kafka import Kafka
from sorbus.ops.embedded.packages import fetch
from sorbus.ops.embedded.ports import Ports
from tests.consumers.line import Line, named
from tests.consumers.test_read_positions import stopped

pytestmark = pytest.mark.slow


class Broker(Kafka):
    """A broker of this module's own, whose logs can lose their ends."""

    def __init__(self, folder: Path) -> None:
        ports = Ports.free()
        super().__init__(folder, fetch(), port=ports.kafka, controller=ports.controller)
        self.logs = folder / "kafka"

    def sizes(self, topic: str) -> dict[Path, int]:
        """Of the topic's logs."""
        return {file: file.stat().st_size for file in self.logs.glob(f"{topic}-*/*.log")}

    def restart(self, cut: dict[Path, int]) -> None:
        """With these logs of that size: as when the only replica that lacks what came later becomes the leader."""
        self.stop()
        for file, size in cut.items():
            os.truncate(file, size)
            for beside in (*file.parent.glob("*.*index"), *file.parent.glob("*.snapshot")):
                beside.unlink()
        (self.logs / ".kafka_cleanshutdown").unlink(missing_ok=True)
        self.start()
        self.wait()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    found = Broker(tmp_path_factory.mktemp("kafka"))
    found.start()
    found.wait()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def stack(stack: Addresses, broker: Broker) -> Addresses:
    return replace(stack, kafka=broker.address)


def publish(line: Line, numbers: range, version: int) -> dict[str, str]:
    line.publish([(f"g{number}", version, named(f"v{version}")) for number in numbers])
    return {f"g{number}": f"v{version}" for number in numbers}


@pytest.mark.parametrize("is_cut", [True, False])
def test_a_topic_that_lost_its_end_and_got_another_stops_the_flow(line: Line, broker: Broker, *, is_cut: bool) -> None:
    """Another leader alone, as after every failover, stops nothing."""
    kept = publish(line, range(10), 1)
    sizes = broker.sizes(line.topic)
    read = kept | publish(line, range(10, 20), 1)
    with line.consuming():
        line.until(read)
    broker.restart(sizes if is_cut else {})
    again = publish(line, range(30), 2)  # the first of them where others were read
    if is_cut:
        assert "was cut off behind what was read last" in str(stopped(line))
        return
    for _ in range(2):  # what an idle flow has committed is compared, too
        with line.consuming():
            line.until(again)
        broker.restart({})
