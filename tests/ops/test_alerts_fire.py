"""A real Prometheus and Alertmanager see a dead consumer: its alert fires, lesser ones keep quiet, people are told."""

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
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer

import sorbus
from sorbus.bus.kafka import admin, base_config
from sorbus.map.load import load_map
from sorbus.ops.embedded import Addresses
from sorbus.ops.runtime.topics import plan_topics, topics_of
from sorbus.settings import Settings
from tests.consumers.gadgets import GADGET
from tests.consumers.line import eventually
from tests.ops.conftest import Sorbus
from tests.ops.postbox import Hook, Postbox, served, text_of

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
    env = {
        **os.environ,
        **stack.env(),
        "CRM_DSN": make_database(""),
        "SORBUS_MAP": str(map_file),
        "SORBUS_CONSOLE_URL": "https://sorbus.example.com",
    }
    settings = Settings(kafka=stack.kafka)
    for step in plan_topics(admin(settings), topics_of(load_map(map_file).map)):
        assert step.apply is not None
        step.apply()
    producer = Producer(base_config(settings, "test"))
    producer.produce(f"{unique}thing", b"v", key=b"1", timestamp=int((time.time() - 900) * 1000))
    producer.flush(30)

    watch, prometheus, alertmanager = _free_ports(3)
    _write_configuration(tmp_path, watch=watch, alertmanager=alertmanager)
    postbox, hook = Postbox(), Hook()
    _write_receivers(tmp_path, env, postbox, hook)
    with ExitStack() as running:
        running.enter_context(served(postbox, hook))
        for command in (
            (str(Path(sys.executable).with_name("sorbus")), "watch", "--interval", "1", "--metrics-port", str(watch)),
            _alertmanager(tmp_path, alertmanager),
            _prometheus(tmp_path, prometheus),
        ):
            running.enter_context(_process(command, env, tmp_path))
        alerts = _wait_for_alerts(alertmanager, {"SorbusConsumerDown", "SorbusFlowBehind"}, tmp_path)
        for who in ("finance@example.com", "ops@example.com"):
            mail = text_of(_about(postbox, who, "no consumer delivers thing to books"))
            assert "Noticed: 20" in mail
            assert "How many: 1 waiting" in mail
            assert "Ask: Finance\n" in mail
            assert "What to do: Start it: `sorbus consume thing-to-books`" in mail
            assert "Console: https://sorbus.example.com/flows/thing-to-books\n" in mail
            assert "Runbook: https://sorbus.example.com/runbooks/consumer-down" in mail
        page = text_of(_about(postbox, "finance@example.com", "no consumer delivers thing to books"), "html")
        assert '<a href="https://sorbus.example.com/flows/thing-to-books">Open in the console</a>' in page
        called = text_of(_about(postbox, "ann@example.com", "escalated to Ann Lee"))
        assert "thing changes to books have waited" in called
        assert "How many: 1 waiting" in called
        assert all("escalated to" in str(each["subject"]) for each in postbox.to("ann@example.com"))
        authorization, body = eventually(lambda: _posted(hook, "SorbusConsumerDown"), "the webhook")

    down, behind = alerts["SorbusConsumerDown"], alerts["SorbusFlowBehind"]
    assert down["status"]["state"] == "active"
    assert down["labels"]["flow"] == "thing-to-books"
    assert down["annotations"]["summary"] == "no consumer delivers thing to books, and changes are waiting"
    assert behind["status"]["state"] == "suppressed"
    assert down["fingerprint"] in behind["status"]["inhibitedBy"]
    assert authorization == "Bearer a-token"
    assert body["alerts"][0]["annotations"]["owner"] == "Finance"
    assert "sales@example.com" not in {str(each["X-Envelope-To"]) for each in postbox.mail}


def test_a_file_that_people_wrote_is_not_written_over(sorbus: Sorbus, tmp_path: Path) -> None:
    map_file, written = _write_map(tmp_path, "t"), tmp_path / "alertmanager.yml"
    written.write_text("route: {receiver: mine}\n")
    words = ("--map", str(map_file), "alerts", "-o", str(tmp_path), "--webhook", "http://127.0.0.1:1/")

    refused, forced = sorbus(*words), sorbus(*words, "--force")

    assert (refused.exit_code, forced.exit_code) == (1, 0)
    assert "was not written by `sorbus alerts`; use --force" in refused.output
    assert written.read_text().startswith("# Written by `sorbus alerts`")
    assert sorbus(*words).exit_code == 0


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--mail-server", "localhost:25"), "set the From address"),
        (("--mail-server", "localhost:25", "--mail-from", "a@example.com", "--mail-user", "a"), "--mail-password-file"),
        (("--to", "a@example.com"), "--to needs a mail server"),
    ],
)
def test_ways_that_can_not_work_are_wrong_use(sorbus: Sorbus, tmp_path: Path, words: tuple[str, ...], why: str) -> None:
    done = sorbus("--map", str(_write_map(tmp_path, "t")), "alerts", "-o", str(tmp_path / "out"), *words)

    assert done.exit_code == 2
    assert why in done.output
    assert not (tmp_path / "out").exists()


def _write_map(folder: Path, prefix: str) -> Path:
    file = folder / "map.yaml"
    file.write_text(
        f"""
topic_prefix: {prefix}
systems:
  crm: {{kind: postgres, connection: {{dsn: "${{CRM_DSN}}"}}, owner: Sales <sales@example.com>}}
  books: {{kind: postgres, connection: {{dsn: "${{CRM_DSN}}"}}, owner: Finance <finance@example.com>}}
data_types:
  thing: {{system_of_record: crm, source: {{table: public.things}}}}
flows:
  - data_type: thing
    to: books
    target: {{table: copied_things}}
    escalate_after: 5m
    escalate_to: Ann Lee <ann@example.com>
"""
    )
    (folder / "schemas").mkdir()
    (folder / "schemas" / "thing.avsc").write_text(GADGET.text.replace('"gadget"', '"thing"'))
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


def _write_receivers(folder: Path, env: dict[str, str], postbox: Postbox, hook: Hook) -> None:
    """What `sorbus alerts` writes for this map, but impatient."""
    (folder / "token").write_text("a-token")
    command = [str(Path(sys.executable).with_name("sorbus")), "alerts", "--output", str(folder)]
    command += ["--mail-server", f"127.0.0.1:{postbox.port}", "--no-mail-tls", "--mail-from", "sorbus@example.com"]
    command += ["--to", "ops@example.com", "--webhook", hook.url, "--webhook-token-file", str(folder / "token")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Ann Lee <ann@example.com> gets" in done.stdout
    file = folder / "alertmanager.yml"
    file.write_text(re.sub(r"group_(wait|interval): \w+", r"group_\1: 1s", file.read_text()))


def _about(postbox: Postbox, address: str, subject: str) -> EmailMessage:
    """The mail with this in its subject, once it has come."""

    def found() -> EmailMessage | None:
        return next((each for each in postbox.to(address) if subject in str(each["subject"])), None)

    return eventually(found, f"mail to {address} on {subject!r}")


def _posted(hook: Hook, name: str) -> tuple[str, dict[str, Any]] | None:
    """What was posted of this alert, with its authorization."""
    return next((each for each in list(hook.posted) if each[1]["groupLabels"]["alertname"] == name), None)


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
