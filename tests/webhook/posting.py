"""The webhook service for systems that post records, on a port of its own, and posts as such systems sign them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import httpx

from sorbus.bus.inbox import InboxWriter
from sorbus.bus.kafka import admin
from sorbus.bus.names import Names
from sorbus.connector import BoundSource, BoundSystem
from sorbus.ops.runtime.topics import _RECORDS, Topic, plan_topics
from sorbus.producers.webhook.intake import RecordIntake
from sorbus.producers.webhook.record_receiver import RecordReceiver
from sorbus.producers.webhook.service import WebhookEndpoint, application
from sorbus.server import listen, serve
from sorbus.settings import Settings
from sorbus.telemetry.stop import Stop
from sorbus.tls import trusted_certificates
from sorbus.webhook.connection import WebhookConnection, secrets_of
from tests.webhook.receiver import KEY

_ids = itertools.count(1)


def signed(raw: bytes, id: str = "", key: bytes = KEY) -> dict[str, str]:
    """Headers of Standard Webhooks, written after the specification."""
    id, at = id or f"msg_{next(_ids)}", int(time.time())
    signature = base64.b64encode(hmac.new(key, f"{id}.{at}.".encode() + raw, hashlib.sha256).digest()).decode()
    return {"webhook-id": id, "webhook-timestamp": str(at), "webhook-signature": f"v1,{signature}"}


class RecordHouse:
    """A running service. `hear` says which system posts; `post` posts as it would."""

    def __init__(self, settings: Settings, names: Names, writer: InboxWriter) -> None:
        self.settings, self.names = settings, names
        self.receivers: dict[str, RecordReceiver] = {}
        self.writer, self.port, self.system = writer, 0, ""
        self.client = httpx.Client(timeout=30, verify=trusted_certificates())

    def hear(self, system: BoundSystem, sources: Sequence[BoundSource]) -> None:
        connection = system.connection
        assert isinstance(connection, WebhookConnection)
        intakes = {source.name: RecordIntake(source, system.name) for source in sources}
        self.system = system.name
        self.receivers[system.name] = RecordReceiver(
            system.name, connection.verify, secrets_of(connection.webhook_secret), intakes, connection.delivery_header
        )
        topic = Topic(self.names.inbox(system.name), 1, _RECORDS, is_keyed=False)
        for step in plan_topics(admin(self.settings), [topic]):
            assert step.apply is not None
            step.apply()
        self.endpoint = WebhookEndpoint(self.receivers, self.writer)

    def post(
        self,
        body: object,
        *,
        path: str = "",
        id: str = "",
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        is_signed: bool = True,
    ) -> httpx.Response:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        heads = {"content-type": "application/json", **(signed(raw, id) if is_signed else {}), **(headers or {})}
        url = f"http://127.0.0.1:{self.port}/webhooks/{self.system}{path}"
        return self.client.request(method, url, content=raw, headers=heads)


@contextmanager
def posting_house(settings: Settings, names: Names) -> Iterator[RecordHouse]:
    stop, writer, listener = Stop(), InboxWriter(settings, names), listen("127.0.0.1", 0, "receive webhooks")
    house = RecordHouse(settings, names, writer)
    house.port = listener.getsockname()[1]

    async def app(scope: object, receive: object, send: object) -> None:
        await application(house.endpoint)(scope, receive, send)  # type: ignore[arg-type]

    house.endpoint = WebhookEndpoint({}, writer)
    thread = threading.Thread(target=serve, args=(app, listener, stop, lambda: None))
    thread.start()
    try:
        yield house
    finally:
        house.client.close()
        stop.set()
        thread.join(20)
        writer.close()
        assert not thread.is_alive(), "the service did not stop within 20 s"
