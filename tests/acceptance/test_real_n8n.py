"""A real n8n both ways: a form's records go through it to the bus, and changes on the bus through it to a ledger.

It takes a script that installs and starts n8n: SORBUS_N8N=/path/n8n.sh, called with a folder, a port and a file of
workflows, and SORBUS_N8N_FOLDER, where it may have been installed already (the first time takes ten minutes and 3 GB).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from sorbus.ops.demo.company import examples
from sorbus.ops.embedded import Addresses
from tests.acceptance.office import Office
from tests.acceptance.posting_people import Senders
from tests.acceptance.test_webhooks import ROWS, SCHEMA, difference, free_port, webhook_map
from tests.acceptance.webhook_ledger import Ledger
from tests.conftest import Report
from tests.webhook.receiver import SECRET

pytestmark = pytest.mark.real
CHANGES, RECORDS, SENDERS, BATCH, KILLS = 10_000, 400, 4, 20, 3
HEADER_SECRET = "a-long-random-secret-of-n8n"


class N8n:
    """The server in a folder, with the workflows of the examples."""

    def __init__(self, script: str, folder: Path, workflows: Path) -> None:
        self.folder, self.port = folder, free_port()
        self._script, self._workflows = script, workflows
        self._start(workflows)

    def _start(self, workflows: Path | None) -> None:
        words = ["bash", self._script, str(self.folder), str(self.port), *([str(workflows)] if workflows else [])]
        env = {**os.environ, "NODE_FUNCTION_ALLOW_BUILTIN": "crypto"}
        subprocess.run(words, check=True, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=1500)
        deadline = time.monotonic() + 180
        while True:  # its health comes before its workflows
            try:
                if httpx.post(f"{self.url}/sorbus-customer", content=b"{}", timeout=10).status_code == 401:
                    return
            except httpx.HTTPError:
                pass
            assert time.monotonic() < deadline, "n8n's workflows weren't active within 180 s"
            time.sleep(0.5)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/webhook"

    def kill(self) -> None:
        os.killpg(int((self.folder / "pid").read_text()), signal.SIGKILL)

    def start(self) -> None:
        self._start(None)


def filled(name: str, **places: str) -> object:
    """A workflow of the examples with its places filled in, as its page says."""
    text = (examples() / "n8n" / f"{name}.json").read_text("utf-8")
    for place, value in places.items():
        found = {"secret": "REPLACE-WITH-N8N_SIGNING_SECRET", "hook": "https://chat.example.com/REPLACE-WITH-YOUR-HOOK"}
        found |= {"sorbus": "https://sorbus.example.com/webhooks/n8n", "header": "REPLACE-WITH-N8N_WEBHOOK_SECRET"}
        assert found[place] in text
        text = text.replace(found[place], value)
    return json.loads(text)


def test_ten_thousand_changes_through_n8n_both_ways(
    stack: Addresses, make_database: Callable[[str], str], unique: str, tmp_path: Path, report: Report
) -> None:
    script = os.environ.get("SORBUS_N8N", "")
    if not Path(script).is_file():
        pytest.skip("set SORBUS_N8N to a script that starts n8n")
    ports = free_port(), free_port()
    workflows = tmp_path / "workflows.json"
    workflows.write_text(
        json.dumps(
            [
                filled("changes-from-sorbus", secret=SECRET, hook=f"http://127.0.0.1:{ports[1]}/chat"),
                filled("records-to-sorbus", sorbus=f"http://127.0.0.1:{ports[0]}/webhooks/form", header=HEADER_SECRET),
            ]
        )
    )
    ledger = Ledger(tmp_path / "ledger.jsonl", ports[1])
    n8n = N8n(script, Path(os.environ.get("SORBUS_N8N_FOLDER", str(tmp_path / "n8n"))), workflows)
    secrets = {"SIGNING_SECRET": SECRET, "FORM_SECRET": HEADER_SECRET, "SORBUS_WEBHOOKS_PORT": str(ports[0])}
    office = Office(tmp_path, unique, {**stack.env(), **secrets, "SORBUS_DATABASE": make_database("")})
    company = webhook_map(n8n.url)
    systems, flows = company["systems"], company["flows"]
    assert isinstance(systems, dict)
    assert isinstance(flows, list)
    systems["form"]["connection"]["verify"] = {"signature": "shared-secret", "header": "X-Sorbus-Secret"}
    flows[0]["target"] = {"path": "sorbus-customer", "concurrency": 8}
    office.write(company, ROWS, {"item": SCHEMA})
    office.sorbus("map", "check")
    office.sorbus("apply", "--yes")
    client = httpx.Client(timeout=60)

    def post(raw: bytes, _id: str) -> int:
        headers = {"content-type": "application/json"}
        return client.post(f"{n8n.url}/hired", content=raw, headers=headers).status_code

    began = time.monotonic()
    try:
        senders = Senders(post, senders=SENDERS, changes=CHANGES, records=RECORDS, batch=BATCH)
        for kill in range(KILLS):
            goal = CHANGES * (kill + 1) // (KILLS + 1)
            with office.killed():
                office.until(lambda: "" if senders.sent >= goal or senders.is_done else f"{senders.sent} sent", 900)  # noqa: B023
                if kill == 1:
                    n8n.kill()
                    n8n.start()
                ledger.kill()
                ledger.start()
        with office.up():
            office.until(lambda: "" if senders.is_done else f"{senders.sent} sent", 900)
            office.until(lambda: difference(ledger.state(), senders.records), 900, every=2.0)
        seconds = time.monotonic() - began
    finally:
        ledger.kill()
        n8n.kill()
        client.close()
    entries = ledger.entries()
    repeats = len(entries) - len({entry.id for entry in entries})
    report(
        f"n8n: {senders.sent:,} changes of {RECORDS} records in posts of {BATCH} through n8n to the bus"
        f" ({senders.late:,} late, {senders.retried:,} retries), {len(entries):,} signed changes through n8n to the"
        f" ledger, {repeats} of them repeats with the same webhook-id; {KILLS} kill -9 of Sorbus and of the ledger, one"
        f" of n8n; equal after {seconds:.0f} s"
    )
