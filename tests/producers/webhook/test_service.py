"""The webhook service over real sockets: what it takes, what it refuses, and what it does when Kafka is away."""

from __future__ import annotations

import asyncio
import json
import logging
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median, quantiles

import httpx
import pytest
from confluent_kafka import TopicPartition

from sorbus import server
from sorbus.abilities import Notice
from sorbus.bus.kafka import topic_reader
from sorbus.bus.names import Names
from sorbus.ops.embedded.kafka import Kafka
from sorbus.ops.embedded.packages import fetch
from sorbus.ops.embedded.ports import Ports
from sorbus.producers.webhook.request_body import LARGEST_BODY
from sorbus.settings import Settings
from tests.conftest import Report
from tests.producers.webhook.house import House, counted, make_topic, notices, serving
from tests.producers.webhook.signed import SCHEMES, SECRET, headers

ANNA = {"type": "contact.created", "id": "anna", "email": "anna@example.com"}
TOLD = Notice("contacts", "anna", False, 0)


def head() -> bytes:
    """A request's beginning with all that can be looked at before its body."""
    signed = f"webhook-id: m\r\nwebhook-timestamp: {int(time.time())}\r\nwebhook-signature: v1,x\r\n"
    return b"POST /webhooks/standard HTTP/1.1\r\nHost: x\r\n" + signed.encode()


@pytest.fixture
def house(settings: Settings, names: Names, make_inbox: Callable[[str], None]) -> Iterator[House]:
    make_inbox("standard")
    with serving(settings, names, body_within=1.0, headers_within=1.5) as running:
        yield running


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_delivery_of_every_scheme_becomes_a_notice(
    scheme: str, settings: Settings, names: Names, make_inbox: Callable[[str], None]
) -> None:
    make_inbox(scheme)
    with serving(settings, names) as house:
        assert house.post(ANNA, scheme=scheme) == 200
        assert house.post({**ANNA, "type": "contact.deleted"}, scheme=scheme, id="msg_2") == 200
    assert notices(settings, names, scheme, expected=1) == [TOLD._replace(deleted=True)]


def test_several_events_of_one_delivery_become_several_notices_and_those_of_no_use_none(
    house: House, settings: Settings, names: Names
) -> None:
    before = {why: counted("sorbus_webhook_events_total", outcome=why) for why in ("unmapped", "malformed", "told")}
    firm = {"type": "company.changed", "id": 7}
    useless = [{"type": "deal.won", "id": 1}, {"type": "secret.made", "id": 2}]
    broken: list[object] = [
        {"type": "contact.created", "id": None},
        "text",
        {"type": "contact.created", "id": "\ud800"},
        {"type": "contact.created", "id": "x" * 2000},
    ]
    assert house.post([ANNA, *useless, firm, *broken]) == 200
    assert notices(settings, names, expected=2) == [TOLD, Notice("companies", "7", False, 0)]
    after = {why: counted("sorbus_webhook_events_total", outcome=why) - count for why, count in before.items()}
    assert after == {"unmapped": 2, "malformed": 4, "told": 2}
    assert house.post([]) == 200


def test_the_same_delivery_again_is_acknowledged_and_not_told_twice(
    house: House, settings: Settings, names: Names
) -> None:
    repeated = counted("sorbus_webhooks_total", outcome="repeated")
    assert [house.post(ANNA) for _ in range(5)] == [200] * 5
    assert house.post({**ANNA, "id": "ben"}, id="msg_2") == 200
    assert notices(settings, names, expected=2) == [TOLD, TOLD._replace(id="ben")]
    assert counted("sorbus_webhooks_total", outcome="repeated") - repeated == 4


def test_what_is_not_signed_or_signed_long_ago_is_refused_and_logs_neither_secret_nor_body(
    house: House, settings: Settings, names: Names, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        assert house.post(ANNA, at=int(time.time()) - 301) == 401
        behind_a_proxy = {"X-Forwarded-For": "203.0.113.9"}
        assert house.client.post("/webhooks/standard", json=ANNA, headers=behind_a_proxy).status_code == 401
        assert house.client.post("/webhooks/xero", json=ANNA, headers={"x-xero-signature": "no"}).status_code == 401
        assert house.post(ANNA, id="msg_2") == 200
    assert "signed too long ago" in caplog.text
    assert "from 203.0.113.9: it has no header" in caplog.text
    for secret in (SECRET, SECRET.removeprefix("whsec_"), "anna@example.com"):
        assert secret not in caplog.text
    assert notices(settings, names, expected=1) == [TOLD]


def test_xeros_intent_to_receive_is_answered_as_xero_asks(house: House) -> None:
    intent = {"events": [], "lastEventSequence": 0, "firstEventSequence": 0, "entropy": "S0m3r4Nd0mt3xt"}
    assert house.post(intent, scheme="xero") == 200
    wrong = house.client.post("/webhooks/xero", json=intent, headers={"x-xero-signature": "c2lnbmF0dXJl"})
    assert (wrong.status_code, wrong.content, "set-cookie" in wrong.headers) == (401, b"", False)


def test_other_systems_methods_and_bodies_are_refused(house: House) -> None:
    assert house.client.post("/webhooks/nobody", json=ANNA).status_code == 404
    assert house.client.post("/", json=ANNA).status_code == 404
    assert house.client.get("/webhooks/standard").status_code == 405
    assert house.client.get("/metrics").status_code == 404
    assert house.post(b"no json") == 400
    assert house.post(b'{"a":' * 100_000) == 400


def test_a_body_over_the_limit_is_refused_before_it_is_read_whole(house: House) -> None:
    with socket.create_connection(("127.0.0.1", house.port), timeout=20) as connection:
        too_long = b"Content-Length: %d\r\n\r\n" % (LARGEST_BODY + 1)
        connection.sendall(head() + too_long)
        assert connection.recv(100).startswith(b"HTTP/1.1 413")
    with socket.create_connection(("127.0.0.1", house.port), timeout=20) as connection:
        connection.sendall(head() + b"Transfer-Encoding: chunked\r\n\r\n")
        connection.sendall(b"%x\r\n%b\r\n1\r\nx" % (LARGEST_BODY, b" " * LARGEST_BODY))
        assert connection.recv(100).startswith(b"HTTP/1.1 413")
    with socket.create_connection(("127.0.0.1", house.port), timeout=20) as connection:
        connection.sendall(head() + b"Transfer-Encoding: chunked\r\n\r\n")
        assert _is_stopped(connection, b"10000\r\n" + b" " * 0x10000 + b"\r\n", most=1000)
    with socket.create_connection(("127.0.0.1", house.port), timeout=20) as connection:
        connection.sendall(head() + b"Content-Length: 99999999\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413")
    padded = {**ANNA, "note": "x" * (LARGEST_BODY - 200)}
    assert house.post(padded) == 200


@pytest.mark.parametrize("declared", [b"Content-Length: 9000000", b"Transfer-Encoding: chunked"])
def test_who_sends_a_refused_body_to_its_end_can_read_the_answer(house: House, declared: bytes) -> None:
    chunk = b"186a0\r\n" + b" " * 100_000 + b"\r\n" if b"chunked" in declared else b" " * 100_000
    with socket.create_connection(("127.0.0.1", house.port), timeout=20) as connection:
        connection.sendall(head() + declared + b"\r\n\r\n")
        _send(connection, chunk, times=90)
        assert connection.recv(100).startswith(b"HTTP/1.1 413")
        assert _read_to_end(connection), "its side is closed after the answer"


def test_who_never_ends_a_refused_body_is_cut_off(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_LINGER", 0.2)
    with socket.create_connection(("127.0.0.1", house.port), timeout=20) as slow:
        slow.sendall(head() + b"Content-Length: 9000000\r\n\r\n")
        assert slow.recv(100).startswith(b"HTTP/1.1 413")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            _send(slow, b"x", times=200, pause=0.05)
    monkeypatch.setattr(server, "_LINGER", 20.0)
    with socket.create_connection(("127.0.0.1", house.port), timeout=20) as fast:
        fast.sendall(head() + b"Content-Length: 99999999\r\n\r\n")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            _send(fast, b" " * 100_000, times=900)


def test_who_has_no_signature_is_refused_before_the_body(house: House) -> None:
    with socket.create_connection(("127.0.0.1", house.port), timeout=20) as connection:
        connection.sendall(b"POST /webhooks/standard HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 401")


def test_all_bodies_together_have_one_budget_and_small_ones_still_pass(
    settings: Settings, names: Names, make_inbox: Callable[[str], None]
) -> None:
    make_inbox("standard")
    with serving(settings, names, bodies=2_000_000) as house, ExitStack() as held:
        for _ in range(2):  # two large ones that stop before their end
            connection = held.enter_context(socket.create_connection(("127.0.0.1", house.port), timeout=20))
            connection.sendall(head() + b"Content-Length: 900000\r\n\r\n" + b" " * 720_000)
        padded = {**ANNA, "note": "x" * 800_000}
        assert _until(lambda: house.post(padded) == 503), "a third large one found room"
        assert house.post(ANNA) == 200
        held.close()
        assert _until(lambda: house.post(padded) == 200)


@pytest.mark.parametrize("path", ["/webhooks/in-path", "/webhooks/in-path/wrong", "/webhooks/in-query?token=wrong",
                                  "/webhooks/gitlab", "/webhooks/bearer/x"])  # fmt: skip
def test_a_shared_secret_is_asked_for_and_never_logged(
    path: str, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        assert house.client.post(path, json=ANNA).status_code in (401, 404)
        assert house.post(b"no json", scheme="in-path") == 400
        assert house.post(b"no json", scheme="in-query") == 400
    shown = caplog.text.replace(str(house.client.base_url), "")
    assert SECRET not in "\n".join(
        line for line in shown.splitlines() if "httpx" not in line and "httpcore" not in line
    )


def test_slow_bodies_and_slow_headers_are_given_up(house: House) -> None:
    with socket.create_connection(("127.0.0.1", house.port), timeout=20) as connection:
        connection.sendall(head() + b"Content-Length: 100\r\n\r\n{")
        assert connection.recv(100).startswith(b"HTTP/1.1 408")
    with socket.create_connection(("127.0.0.1", house.port), timeout=20) as connection:
        begun = time.monotonic()
        connection.sendall(b"POST /webhooks/standard HTTP/1.1\r\n")
        assert _trickle(connection, begun + 10), "the connection was still open after 10 s"
        assert time.monotonic() - begun > 1
    assert house.post(ANNA) == 200


def test_one_address_can_only_have_so_many_requests_at_a_time(
    settings: Settings, names: Names, make_inbox: Callable[[str], None]
) -> None:
    make_inbox("standard")
    with serving(settings, names, most_at_a_time=3) as house, ExitStack() as held:
        for _ in range(3):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", house.port), timeout=20))
            connection.sendall(head() + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 100"), "it is not waiting for the body"
        refused = house.client.post("/webhooks/standard", json=ANNA)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        held.close()
        assert _until(lambda: house.post(ANNA) == 200)


def test_an_answer_comes_in_milliseconds_and_not_before_kafka_has_the_notice(
    house: House, settings: Settings, names: Names, report: Report
) -> None:
    took = []
    with closing(topic_reader(settings, "watermark", committed=False)) as kafka:
        inbox = TopicPartition(names.inbox("standard"), 0)
        for number in range(100):
            begun = time.monotonic()
            assert house.post({**ANNA, "id": f"c{number}"}, id=f"msg_{number}") == 200
            took.append(time.monotonic() - begun)
            assert kafka.get_watermark_offsets(inbox, timeout=20)[1] == number + 1, "answered before Kafka had it"
    report(f"webhooks: {shown(took)}, one after another")
    assert median(took) < 0.05


def test_200_deliveries_at_once_are_all_taken(
    settings: Settings, names: Names, make_inbox: Callable[[str], None], report: Report
) -> None:
    make_inbox("standard")
    took = []

    async def post(client: httpx.AsyncClient, number: int) -> int:
        raw = json.dumps({**ANNA, "id": f"c{number}"}).encode()
        signed = headers("standard", raw, int(time.time()), id=f"msg_{number}")
        begun = time.monotonic()
        status = (await client.post("/webhooks/standard", content=raw, headers=signed)).status_code
        took.append(time.monotonic() - begun)
        return status

    async def post_all() -> list[int]:
        async with httpx.AsyncClient(
            base_url=house.client.base_url, timeout=20, limits=httpx.Limits(max_connections=200)
        ) as client:
            return await asyncio.gather(*(post(client, number) for number in range(200)))

    with serving(settings, names) as house:  # with the seconds for a body that senders have
        assert set(asyncio.run(post_all())) == {200}
    assert {notice.id for notice in notices(settings, names, expected=200)} == {f"c{number}" for number in range(200)}
    report(f"webhooks: {shown(took)}, {len(took)} at once")


def test_without_kafka_the_sender_is_told_to_try_again(names: Names, free_port: int) -> None:
    with serving(Settings(kafka=f"127.0.0.1:{free_port}"), names, patience=1.0) as house:
        raw = b'{"type":"contact.created","id":"anna"}'
        begun = time.monotonic()
        answer = house.client.post(
            "/webhooks/standard", content=raw, headers=headers("standard", raw, int(time.time()))
        )
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert time.monotonic() - begun < 4.5, "vendors wait 5 s"
        assert "inbox" in (house.deliveries.trouble() or "")
        assert house.post(ANNA) == 503, "what Kafka has not taken passed for known"
        assert house.client.post("/webhooks/standard", json=ANNA).status_code == 401


@pytest.mark.slow
def test_when_kafka_comes_back_deliveries_are_taken_again_without_a_restart(tmp_path: Path, names: Names) -> None:
    ports = Ports.free()
    kafka = Kafka(tmp_path, fetch(), port=ports.kafka, controller=ports.controller)
    with ExitStack() as stack:
        stack.callback(kafka.stop)
        kafka.start()
        kafka.wait()
        settings = Settings(kafka=kafka.address)
        make_topic(settings, names, "standard")
        house = stack.enter_context(serving(settings, names))
        assert house.post(ANNA) == 200
        kafka.stop()
        assert {house.post({**ANNA, "id": str(number)}, id=f"gone_{number}") for number in range(2)} == {503}
        kafka.start()
        kafka.wait()
        assert _until(lambda: house.post({**ANNA, "id": "ben"}, id="msg_2") == 200), "it still refuses"
        assert TOLD._replace(id="ben") in notices(settings, names, expected=2)


def shown(took: list[float]) -> str:
    """How long answers took."""
    middle, late = median(took), quantiles(took, n=100)[98]
    return f"answered in {middle * 1000:.1f} ms (median), 99 of 100 within {late * 1000:.1f} ms"


def _send(connection: socket.socket, chunk: bytes, *, times: int, pause: float = 0.0) -> None:
    for _ in range(times):
        connection.sendall(chunk)
        select.select([], [], [], pause)


def _read_to_end(connection: socket.socket) -> bool:
    while connection.recv(1000):
        pass
    return True


def _is_stopped(connection: socket.socket, chunk: bytes, *, most: int) -> bool:
    """Whether the other side answers, or cuts the line, before it has taken so many chunks."""
    for _ in range(most):
        try:
            connection.sendall(chunk)
        except (ConnectionResetError, BrokenPipeError):
            return True
        if select.select([connection], [], [], 0)[0]:
            return True
    return False


def _trickle(connection: socket.socket, deadline: float) -> bool:
    """Sends a header a character at a time; whether the other side has closed before `deadline`."""
    connection.settimeout(0.1)
    while time.monotonic() < deadline:
        try:
            connection.sendall(b"x")
            if connection.recv(100) == b"":
                return True
        except TimeoutError:
            continue
        except (ConnectionResetError, BrokenPipeError):
            return True
    return False


def _until(is_true: Callable[[], bool]) -> bool:
    """Whether it became true within 10 s."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if is_true():
            return True
    return False
