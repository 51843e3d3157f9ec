"""A real HTTP application on loopback that keeps contacts in memory and breaks as it is told to.

Use it through the fixture `faulty` (tests/conftest.py): a fresh one for each test, without faults until you order some.

What there is (`faulty.base_url` + path; its description for Sorbus is faulty.yaml beside this, see `describe`):

    GET    /contacts?page=1&limit=100      lists: {"contacts": [...], "total": n, "has_more": ...}; every list takes
    GET    /contacts/by-offset?offset=0    since=ISO (inclusive, see `inclusive`) and sort=updated or -updated
    GET    /contacts/by-cursor?cursor=     answer holds "next"
    GET    /contacts/by-link               Link header, rel="next"
    GET    /contacts/by-url                answer holds "next_url"
    GET    /contacts/search?field=email&value=a@example.test
    GET    /contacts/7                     {"contact": {...}} with an ETag (If-None-Match -> 304)
    POST   /contacts                       {"contact": {...}}; honours Idempotency-Key
    PATCH, PUT, DELETE /contacts/7         honours If-Match (412)
    POST   /contacts/7/merge               {"into": 5}: 7 is gone, and 5 has what it lacked (`renumbers`: as a new one)
    POST   /oauth/token                    client_credentials, refresh_token (rotating)

A contact: id (integer), our_id, name (required), email, tax_number, amount (decimal as text), status, city, lines (a
list), archived, updated_at, revision. What is wrong is 422 (409 for a duplicate) with
{"errors": [{"field", "message", "code"}]}.

What to order, at any time, from the test's thread:

    faulty.faults = {"429": 0.01, "timeout-after": 0.02}      shares of all requests; see `Fault` for the names;
                                    decided by `seed`, request and how often it came
    faulty.unscript()               what was scripted and hasn't come yet doesn't come
    faulty.script("POST", "/contacts", "timeout-after", "500")          the next such requests, one fault each
    faulty.limits = [(60, 1.0), (1000, 60.0)]     enforced over sliding windows; answers 429 (`faulty.too_many`)
    faulty.retry_after = "seconds" | "date" | "none"                    what those 429 carry
    faulty.auth = "none" | "key" | "oauth2"       with `api_key`, or `tokens`: client_id, client_secret, refresh_token,
                                    lasts (s), rotates, previous_lasts (s), revoked; expire(); issued, refused, reused
    faulty.order = "id" | "updated" | "newest" | "shuffled"             of lists that don't ask for a sort
    faulty.settle = 2.0             seconds until the search sees a write
    faulty.lists_lag = 1.0          seconds until lists see it (updated_at is older by then)
    faulty.inclusive = False        `since` itself isn't part of the answer
    faulty.contains = True          search finds what contains the value
    faulty.finds = function(stored, asked) -> bool          search compares so
    faulty.most_found = 2           search shows so many at a time (page=)
    faulty.idempotent = False       Idempotency-Key is ignored
    faulty.before = function(method, path, parameters)      called before each request: change records while somebody
                                    reads pages
    faulty.shown = function(contact) -> contact      a new version of the application, whose records look otherwise
    faulty.raw = function(method, path, parameters) -> Response    another answer in place of its own; None: its own
    faulty.renumbers = True         merging makes a new contact of both
    faulty.slow = 0.05              seconds that every answer takes
    faulty.records.keeps = function(fields) -> fields       what it makes of what it is given
    faulty.records.unique = "email"; .archives = True (a delete only sets archived); .resolution = 60.0 (many records
    with one updated_at); .clock_is_off = timedelta(minutes=-3); .touch(5) changes five records anywhere

By hand, as the application's own people would: `add`, `add_many`, `change`, `remove`.
Webhooks (Standard Webhooks): `webhooks(url, secret, ...)` posts what was written since the last call.
The audit: `faulty.asked` (every request), `faulty.writes` (every write), `too_many`, `count(...)`, `doubles(field)`.
"""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import uvicorn
from ruamel.yaml import YAML
from standardwebhooks import Webhook

from sorbus.tls import trusted_certificates
from tests.http_api.faulty_http import Behaviour, Connection, FaultyApp
from tests.http_api.faulty_records import Record, Write

DESCRIPTION = Path(__file__).with_name("faulty.yaml")
DESCRIBED: Record = YAML(typ="safe").load(DESCRIPTION)


class Faulty(Behaviour):
    """A running faulty application: what it is to do, what it holds, what it was asked."""

    def __init__(self, base_url: str, seed: int = 1) -> None:
        super().__init__(seed)
        self.base_url = base_url
        self._told = 0

    @property
    def writes(self) -> list[Write]:
        """Every create, update and delete, in order; `by` is "hand" for those of the application's own people."""
        return self.records.writes

    @property
    def too_many(self) -> int:
        """How many requests were answered with 429 because of `limits` (not those that `faults` made up)."""
        return sum(one.status == 429 and one.fault is None for one in list(self.asked))

    def count(self, method: str = "", path: str = "", status: int | None = None) -> int:
        """How many requests there were of this method, whose path begins so, that got this status (0: no answer)."""
        return sum(
            method in ("", one.method) and one.path.startswith(path) and status in (None, one.status)
            for one in list(self.asked)
        )

    def doubles(self, field: str) -> dict[str, int]:
        """Values that more than one contact has in `field`."""
        counted = Counter(str(one[field]) for one in self.records.all() if one[field] and not one["archived"])
        return {value: count for value, count in counted.items() if count > 1}

    def contacts(self, by: str = "id") -> dict[str, Record]:
        """What is there and not archived, by a field's value."""
        return {str(one[by]): one for one in self.records.all() if not one["archived"]}

    def add(self, **fields: object) -> str:
        """Somebody makes a contact by hand; its id."""
        return str(self.records.create(dict(fields), "hand")["id"])

    def add_many(self, contacts: Iterable[Record]) -> list[str]:
        """Somebody imports contacts; their ids."""
        return [self.add(**contact) for contact in contacts]

    def change(self, id: str, **fields: object) -> None:
        """Somebody changes a contact by hand."""
        assert self.records.update(int(id), dict(fields), "hand"), f"there is no contact {id}"

    def remove(self, id: str) -> None:
        """Somebody deletes a contact by hand."""
        assert self.records.delete(int(id), "hand"), f"there is no contact {id}"

    def webhooks(
        self, url: str, secret: str, *, doubled: float = 0.0, shuffled: bool = False, lost: float = 0.0
    ) -> list[int]:
        """Posts a signed delivery for each write since the last call; the statuses that came back.

        `secret` is Standard Webhooks' own form (whsec_...); `doubled` and `lost` are shares.
        """
        chance = random.Random(f"{self.seed} {self._told}")
        with self.records.lock:
            news, self._told = self.writes[self._told :], len(self.writes)
        deliveries = []
        for number, write in enumerate(news, self._told - len(news)):
            payload = {"type": f"contact.{write.did}d", "data": {"id": write.id}}
            if chance.random() >= lost:
                deliveries += [(f"msg_{number}", payload)] * (2 if chance.random() < doubled else 1)
        if shuffled:
            chance.shuffle(deliveries)
        with httpx.Client(timeout=30, verify=trusted_certificates()) as client:
            return [_deliver(client, url, secret, id, payload) for id, payload in deliveries]

    def describe(self, folder: Path, **changes: object) -> str:
        """Writes the description into `folder` as faulty.yaml, with its top-level keys changed; the file's name.

        Such as auth={"kind": "oauth2", ...}, limits=[{"requests": 50, "per": 1}], timeout=0.5.
        """
        written = {key: part for key, part in DESCRIBED.items() if key != "x-contact"}
        # JSON is YAML too.
        (folder / "faulty.yaml").write_text(json.dumps({**written, **changes}, indent=1), "utf-8")
        return "faulty.yaml"


def _deliver(client: httpx.Client, url: str, secret: str, id: str, payload: Record) -> int:
    now = datetime.now(UTC)
    body = json.dumps({**payload, "timestamp": now.isoformat()})
    headers = {
        "webhook-id": id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(id, now, body),
        "content-type": "application/json",
    }
    return client.post(url, content=body, headers=headers).status_code


@contextmanager
def serving(seed: int = 1) -> Iterator[Faulty]:
    """A faulty application that answers while the block lasts."""
    # Named TCP, or asyncio leaves Nagle's delay on, and every answer takes 40 ms.
    listening = socket.socket(proto=socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(512)
    faulty = Faulty(f"http://127.0.0.1:{listening.getsockname()[1]}", seed)
    config = uvicorn.Config(
        FaultyApp(faulty),
        http=Connection,
        log_config=None,
        log_level="critical",
        lifespan="off",
        timeout_graceful_shutdown=0,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), name="faulty", daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive(), "the faulty application ended at once"
        assert time.monotonic() < deadline, "the faulty application didn't start within 20 s"
        time.sleep(0.005)
    try:
        yield faulty
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()
    assert not thread.is_alive(), "the faulty application didn't stop within 20 s"
