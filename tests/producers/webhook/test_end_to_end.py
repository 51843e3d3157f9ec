"""A change in an application behind HTTP, told by a webhook, on its topic at once: with the command as it is run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.map.loaded import LoadedMap
from sorbus.ops.runtime.planning import plan
from sorbus.settings import Settings
from tests.http_api.faulty import Faulty
from tests.producers.shop import Running, Tape
from tests.producers.webhook.company import write_map

SECRET = "whsec_" + "c2VjcmV0cyBvZiB0aGUgdGVzdHMsIDMyIGJ5dGVz"


@pytest.fixture
def company(faulty: Faulty, tmp_path: Path, unique: str, database: str, monkeypatch: pytest.MonkeyPatch) -> LoadedMap:
    faulty.auth = "key"
    monkeypatch.setenv("SORBUS_DATABASE", database)
    monkeypatch.setenv("KEY", faulty.api_key)
    monkeypatch.setenv("HOOK", SECRET)
    connection: dict[str, object] = {
        "api": faulty.describe(tmp_path),
        "base_url": faulty.base_url,
        "api_key": "${KEY}",
        "webhook_secret": "${HOOK}",
    }
    return write_map(tmp_path, connection, prefix=f"{unique}.")


@contextmanager
def receiving(company: LoadedMap, settings: Settings) -> Iterator[str]:
    """`sorbus webhooks` as a process without the application's own key; the address to post to."""
    log = company.folder / "webhooks.log"
    env = {name: value for name, value in os.environ.items() if name not in ("KEY", "SORBUS_DATABASE")}
    with log.open("wb") as written:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("sorbus"), "--map", company.file, "webhooks", "--port", "0"],
            env={**env, "SORBUS_KAFKA": settings.kafka, "SORBUS_LOGS": "json"},
            cwd=company.folder,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
        )
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"http://127\.0\.0\.1:\d+/webhooks/", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"it doesn't listen after 60 s: {log.read_text()}"
            time.sleep(0.05)
        yield f"{found[0]}crm"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    assert SECRET not in log.read_text()


@contextmanager
def producing(company: LoadedMap, settings: Settings) -> Iterator[None]:
    running = Running(company, settings, "crm")
    running.thread.start()
    try:
        yield
    finally:
        running.stop.set()
        running.thread.join(30)
        assert running.error is None, running.error


@pytest.mark.slow
def test_a_change_that_a_webhook_tells_of_is_on_its_topic_at_once_and_a_lost_one_costs_nothing_but_time(
    company: LoadedMap, settings: Settings, faulty: Faulty, unique: str
) -> None:
    for step in plan(company, settings):
        assert step.apply is not None, step
        step.apply()
    anna, ben = faulty.add(name="Anna", email="anna@example.test"), faulty.add(name="Ben")
    names = Names(f"{unique}.")
    tape = Tape(settings, names.topic("contact"), SchemaResolver(settings, names, [company.schema("contact")]))
    with receiving(company, settings) as address:
        with producing(company, settings):
            tape.wait_for({anna: None, ben: None})
            faulty.webhooks(address, SECRET)  # of what is known already: it is read again and nothing is published
            faulty.change(anna, email="anna@elsewhere.test")
            faulty.remove(ben)
            carl = faulty.add(name="Carl")
            begun = time.monotonic()
            assert set(faulty.webhooks(address, SECRET, doubled=0.5, shuffled=True)) == {200}
            tape.wait_for(
                {anna: {"name": "Anna", "email": "anna@elsewhere.test"}, carl: {"name": "Carl", "email": None}}
            )
            assert time.monotonic() - begun < 20, "it came, but late"
        faulty.change(carl, name="Carla")
        assert set(faulty.webhooks(address, SECRET)) == {200}  # nobody reads the inbox just now
        with producing(company, settings):
            tape.wait(lambda: tape.live()[carl]["name"] == "Carla", "Carl is still Carl")
    assert [len(tape.events_of(id)) for id in (anna, ben, carl)] == [2, 2, 2], tape.events_of(anna)
    tape.close()
