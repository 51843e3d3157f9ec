"""The webhook service as it runs, on a port of its own, with a real Kafka behind it; and deliveries to it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prometheus_client import REGISTRY

from sorbus.abilities import Notice
from sorbus.bus.inbox import Inbox, InboxWriter
from sorbus.bus.kafka import admin
from sorbus.bus.names import Names
from sorbus.ops.runtime.topics import Topic, plan_topics
from sorbus.producers.webhook.receivers import WebhookReceiver
from sorbus.producers.webhook.request_body import BODIES
from sorbus.producers.webhook.service import WebhookEndpoint, application
from sorbus.server import listen, serve
from sorbus.settings import Settings
from sorbus.telemetry.stop import Stop
from sorbus.tls import trusted_certificates
from tests.producers.webhook.signed import SCHEMES, SECRET, URL, address, headers

RESOURCES = frozenset(("contacts", "companies"))


class House:
    """A running service: `post` delivers to it as the vendor of `scheme` would."""

    def __init__(self, port: int, deliveries: WebhookEndpoint) -> None:
        self.port, self.deliveries = port, deliveries
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, verify=trusted_certificates())

    def post(self, body: object, *, scheme: str = "standard", id: str = "msg_1", at: int | None = None) -> int:
        """Signs and posts `body`; the answer's status."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        signed = headers(scheme, raw, int(time.time()) if at is None else at, id=id)
        answer = self.client.post(address(scheme), content=raw, headers=signed)
        assert answer.content == b""
        return answer.status_code


@contextmanager
def serving(
    settings: Settings,
    names: Names,
    *,
    patience: float = 3.0,
    body_within: float = 10.0,
    headers_within: float = 10.0,
    most_at_a_time: int = 256,
    bodies: int = BODIES,
) -> Iterator[House]:
    """Runs the service in a thread for every scheme of `signed`."""
    heard = {scheme: WebhookReceiver(scheme, said, (SECRET,), RESOURCES, {}, URL) for scheme, said in SCHEMES.items()}
    stop, writer, listener = (
        Stop(),
        InboxWriter(settings, names, patience=patience),
        listen("127.0.0.1", 0, "receive webhooks"),
    )
    deliveries = WebhookEndpoint(heard, writer, body_within=body_within, most_at_a_time=most_at_a_time, bodies=bodies)
    thread = threading.Thread(
        target=serve,
        args=(application(deliveries), listener, stop, lambda: None),
        kwargs={"headers_within": headers_within},
    )
    thread.start()
    house = House(listener.getsockname()[1], deliveries)
    try:
        yield house
    finally:
        house.client.close()
        stop.set()
        thread.join(20)
        writer.close()
        assert not thread.is_alive(), "the service did not stop within 20 s"


def make_topic(settings: Settings, names: Names, system: str) -> None:
    """Makes a system's inbox."""
    topic = Topic(names.inbox(system), 1, {"cleanup.policy": "delete"}, is_keyed=False)
    for step in plan_topics(admin(settings), [topic]):
        assert step.apply is not None
        step.apply()


def notices(settings: Settings, names: Names, system: str = "standard", *, expected: int) -> list[Notice]:
    """What is in a system's inbox, at least `expected` of them, within 20 s; times set to 0."""
    inbox = Inbox(settings, names, system, None)
    found: list[Notice] = []
    deadline = time.monotonic() + 20
    try:
        while (left := deadline - time.monotonic()) > 0 and len(found) < expected:
            found += inbox.read(left)
        found += inbox.read(0.2)
    finally:
        inbox.close()
    assert len(found) >= expected, f"{len(found)} of {expected} notices came: {found[:5]}"
    return [notice._replace(received_at=0) for notice in found]


def counted(name: str, system: str = "standard", **labels: str) -> float:
    """A metric's value just now, 0 if it isn't there."""
    return REGISTRY.get_sample_value(name, {"system": system, **labels}) or 0.0
