"""Ten thousand changes that are posted to Sorbus, and by it, while it and the receiver are killed: equal at the end.

What is compared is what the senders know and what the receiver wrote down; Sorbus's code has no part in it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from sorbus.ops.embedded import Addresses
from tests.acceptance.office import Office
from tests.acceptance.posting_people import Senders
from tests.acceptance.webhook_ledger import Ledger
from tests.conftest import Report
from tests.webhook.receiver import KEY, SECRET

pytestmark = pytest.mark.slow
SORBUS = str(Path(sys.executable).with_name("sorbus"))
NUMBER = {"type": "bytes", "logicalType": "decimal", "precision": 19, "scale": 2}
SCHEMA: list[object] = [
    {"name": "name", "type": "string"},
    {"name": "note", "type": ["null", "string"], "default": None},
    {"name": "price", "type": ["null", NUMBER], "default": None},
]
ROWS = [
    *(("form", f"record.{field}", "canonical", f"item.{field}", "") for field in ("name", "note", "price")),
    *(("canonical", f"item.{field}", "hook", f"record.{field}", "") for field in ("name", "note", "price")),
]
CHANGES, RECORDS, SENDERS, KILLS = 10_000, 400, 8, 6


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def webhook_map(url: str) -> dict[str, object]:
    """Items come from `form` and go to `hook`."""
    connection = {"url": url, "signing_secret": "${SIGNING_SECRET}", "allow_private_addresses": True}
    source = {"id": "number", "updated": "changed_at", "deleted": {"status": "left"}, "absent": "empty"}
    return {
        "systems": {
            "form": {"kind": "webhook", "connection": {"webhook_secret": "${FORM_SECRET}"}, "owner": "Sales"},
            "hook": {"kind": "webhook", "connection": connection, "owner": "Operations"},
        },
        "data_types": {"item": {"system_of_record": "form", "source": source, "partitions": 2}},
        "flows": [{"data_type": "item", "to": "hook", "wait_limit": "1h"}],
    }


def difference(found: dict[str, dict[str, object]], wanted: dict[str, dict[str, object]]) -> str:
    wrong = [id for id in sorted(found.keys() | wanted.keys()) if found.get(id) != wanted.get(id)]
    return "; ".join(f"{id}: {found.get(id)} and not {wanted.get(id)}" for id in wrong[:3]) + (
        f" ({len(wrong)} records)" if wrong else ""
    )


def test_ten_thousand_changes_with_kills_on_both_sides(
    stack: Addresses, make_database: Callable[[str], str], unique: str, tmp_path: Path, report: Report
) -> None:
    ports = free_port(), free_port()
    secrets = {"SIGNING_SECRET": SECRET, "FORM_SECRET": SECRET, "SORBUS_WEBHOOKS_PORT": str(ports[0])}
    office = Office(tmp_path, unique, {**stack.env(), **secrets, "SORBUS_DATABASE": make_database("")})
    office.write(webhook_map(f"http://127.0.0.1:{ports[1]}/hook"), ROWS, {"item": SCHEMA})
    office.sorbus("map", "check")
    office.sorbus("apply", "--yes")
    ledger = Ledger(tmp_path / "ledger.jsonl", ports[1], KEY)
    client = httpx.Client(timeout=20)

    def post(raw: bytes, id: str) -> int:
        at = int(time.time())
        made = base64.b64encode(hmac.new(KEY, f"{id}.{at}.".encode() + raw, hashlib.sha256).digest()).decode()
        headers = {"webhook-id": id, "webhook-timestamp": str(at), "webhook-signature": f"v1,{made}"}
        url = f"http://127.0.0.1:{ports[0]}/webhooks/form"
        return client.post(url, content=raw, headers={**headers, "content-type": "application/json"}).status_code

    began = time.monotonic()
    senders = Senders(post, senders=SENDERS, changes=CHANGES, records=RECORDS)
    receiver_kills = 0
    try:
        for kill in range(KILLS):
            goal = CHANGES * (kill + 1) // (KILLS + 1)
            with office.killed():
                office.until(lambda: "" if senders.sent >= goal or senders.is_done else f"{senders.sent} sent", 240)  # noqa: B023
                ledger.kill()
                receiver_kills += 1
                ledger.start()
        with office.up():
            office.until(lambda: "" if senders.is_done else f"{senders.sent} sent", 240)
            office.until(lambda: difference(ledger.state(), senders.records), 180, every=1.0)
        seconds = time.monotonic() - began
    finally:
        ledger.kill()
        client.close()
    entries = ledger.entries()
    repeats = len(entries) - len({entry.id for entry in entries})
    letters = office.sorbus("dlq", "list", "--json", status=None)
    assert not letters.strip(), letters
    assert senders.late > 500
    report(
        f"webhooks: {senders.sent:,} changes of {RECORDS} records posted by {SENDERS} senders ({senders.late:,} late,"
        f" {senders.repeated:,} repeated, {senders.retried:,} retries), {len(entries):,} posts to the receiver,"
        f" {repeats} of them repeats with the same webhook-id; {KILLS} kill -9 of every process and {receiver_kills} of"
        f" the receiver; equal after {seconds:.0f} s"
    )
