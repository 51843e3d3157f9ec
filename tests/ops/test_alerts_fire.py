"""A real Prometheus and a real Alertmanager see a dead consumer: its alert fires, and the lesser ones keep quiet."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer

import sorbus
from sorbus.bus.kafka import admin, base_config
from sorbus.map.load import load_map
from sorbus.ops.embedded import Addresses
from sorbus.ops.run.topics import plan_topics, topics_of
from sorbus.settings import Settings

OPS = Path(sorbus.__file__).parents[1] / "ops"
PROGRAMS = ("prometheus", "prometheus-alertmanager")

pytestmark = pytest.mark.skipif(
    any(shutil.which(program) is None for program in PROGRAMS),
    reason="Debian's packages prometheus and prometheus-alertmanager are not installed",
)


def test_a_flow_without_a_consumer_wakes_somebody_once(
    stack: Addresses, make_database: Callable[[str], str], unique: str, tmp_path: Path
) -> None:
    map_file = _write_map(tmp_path, unique)
    env = {**os.environ, **stack.env(), "CRM_DSN": make_database(""), "SORBUS_MAP": str(map_file)}
    settings = Settings(kafka=stack.kafka)
    for step in plan_topics(admin(settings), topics_of(load_map(map_file).map)):
        assert step.apply is not None
        step.apply()
    producer = Producer(base_config(settings, "test"))
    producer.produce(f"{unique}thing", b"v", key=b"1", timestamp=int((time.time() - 900) * 1000))
    producer.flush(30)

    watch, prometheus, alertmanager = _free_ports(3)
    _write_configuration(tmp_path, watch=watch, alertmanager=alertmanager)
    with ExitStack() as running:
        for command in (
            (str(Path(sys.executable).with_name("sorbus")), "watch", "--interval", "1", "--metrics-port", str(watch)),
            _alertmanager(tmp_path, alertmanager),
            _prometheus(tmp_path, prometheus),
        ):
            running.enter_context(_process(command, env, tmp_path))
        alerts = _wait_for_alerts(alertmanager, {"SorbusConsumerDown", "SorbusFlowBehind"}, tmp_path)

    down, behind = alerts["SorbusConsumerDown"], alerts["SorbusFlowBehind"]
    assert down["status"]["state"] == "active"
    assert down["labels"]["flow"] == "thing-to-books"
    assert down["annotations"]["summary"] == "nobody delivers thing to books, and changes are waiting"
    assert behind["status"]["state"] == "suppressed"
    assert behind["status"]["inhibitedBy"] == [down["fingerprint"]]


def _write_map(folder: Path, prefix: str) -> Path:
    file = folder / "map.yaml"
    file.write_text(
        f"""
topic_prefix: {prefix}
systems:
  crm: {{kind: postgres, connection: {{dsn: "${{CRM_DSN}}"}}}}
  books: {{kind: postgres, connection: {{dsn: "${{CRM_DSN}}"}}}}
data_types:
  thing: {{system_of_record: crm, source: {{table: public.things}}}}
flows:
  - {{data_type: thing, to: books, target: {{table: copied_things}}}}
"""
    )
    return file


def _write_configuration(folder: Path, *, watch: int, alertmanager: int) -> None:
    """The shipped files, but impatient and on this test's ports."""
    (folder / "targets").mkdir()
    targets = [{"targets": [f"127.0.0.1:{watch}"], "labels": {"process": "watch"}}]
    (folder / "targets" / "test.json").write_text(json.dumps(targets))
    config = (OPS / "prometheus" / "prometheus.yml").read_text()
    config = config.replace("10s", "1s").replace("alertmanager:9093", f"127.0.0.1:{alertmanager}")
    (folder / "prometheus.yml").write_text(config)
    rules = (OPS / "prometheus" / "alerts.yml").read_text()
    (folder / "alerts.yml").write_text(re.sub(r"for: \d+m", "for: 0s", rules))
    (folder / "alertmanager.yml").write_text((OPS / "alertmanager" / "alertmanager.yml").read_text())


def _prometheus(folder: Path, port: int) -> tuple[str, ...]:
    return (
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'prometheus-data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )


def _alertmanager(folder: Path, port: int) -> tuple[str, ...]:
    return (
        "prometheus-alertmanager",
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'alertmanager-data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    )


@contextmanager
def _process(command: tuple[str, ...], env: dict[str, str], folder: Path) -> Iterator[None]:
    with (folder / f"{Path(command[0]).name}.log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for_alerts(port: int, names: set[str], folder: Path) -> dict[str, dict[str, Any]]:
    """Until Alertmanager holds all these alerts, and says of each whether it calls somebody."""
    deadline, found = time.monotonic() + 90, dict[str, dict[str, Any]]()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        while time.monotonic() < deadline:
            try:
                answer = client.get("/api/v2/alerts").json()
            except httpx.TransportError:
                answer = []
            found = {alert["labels"]["alertname"]: alert for alert in answer}
            if names <= found.keys() and all(found[name]["status"]["state"] != "unprocessed" for name in names):
                return found
            time.sleep(0.2)
    logs = "\n".join(f"{log.name}:\n{log.read_text()[-1500:]}" for log in sorted(folder.glob("*.log")))
    pytest.fail(f"waited for {names}, got {found}\n{logs}", pytrace=False)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(one.getsockname()[1]) for one in sockets]
