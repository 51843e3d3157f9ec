"""What is posted, where it may go, and what answers mean; against a real receiver."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sorbus.errors import PermanentError
from sorbus.webhook.connection import WebhookTargetConnection
from sorbus.webhook.endpoint import Verdict, WebhookClient
from sorbus.webhook.message import changed_message, signed_headers
from sorbus.webhook.public_addresses import is_public
from tests.webhook.receiver import KEY, OTHER, SECRET, Receiver, Reply, is_signed, receiving

MESSAGE = changed_message("f", "customer", "7", 3, {"name": "Müller"}, changed_at=None, historical=False)


def client(url: str, *, private: bool = True, secret: str = SECRET, timeout: float = 5.0, **more: Any) -> WebhookClient:
    written = {"url": url, "signing_secret": secret, "allow_private_addresses": private, **more}
    return WebhookClient(WebhookTargetConnection.model_validate(written), "", timeout=timeout, concurrency=2)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def test_a_message_says_what_the_page_promises() -> None:
    fields: dict[str, object] = {
        "amount": Decimal("1234.50"),
        "large": 2**60,
        "day": date(2026, 11, 29),
        "at": datetime(2026, 11, 29, 8, tzinfo=UTC),
        "raw": b"\x00\xff",
        "lines": [{"price": Decimal("0.10")}],
        "none": None,
    }
    made = changed_message("f", "order", "7", 3, fields, changed_at="2026-11-29T08:00:00Z", historical=True)
    assert json.loads(made.body) == {
        "format": 1,
        "type": "order.changed",
        "data_type": "order",
        "id": "7",
        "version": 3,
        "deleted": False,
        "historical": True,
        "changed_at": "2026-11-29T08:00:00Z",
        "data": {
            "amount": "1234.50",
            "large": 2**60,
            "day": "2026-11-29",
            "at": "2026-11-29T08:00:00Z",
            "raw": "AP8=",
            "lines": [{"price": "0.10"}],
            "none": None,
        },
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", object()])
def test_what_json_can_t_hold_is_refused_and_never_sent_as_something_else(value: object) -> None:
    with pytest.raises(PermanentError):
        changed_message("f", "customer", "7", 3, {"x": value}, changed_at=None, historical=False)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.text(max_size=3), st.integers(0, 3), st.sampled_from(["a", "b", None])), max_size=8))
def test_the_webhook_id_is_the_same_for_the_same_content_and_for_nothing_else(
    changes: list[tuple[str, int, str | None]],
) -> None:
    ids: dict[str, tuple[str, int, str | None]] = {}
    for change in changes:
        id, version, name = change
        data = None if name is None else {"name": name}
        for historical in (False, True):
            made = changed_message("f", "t", id, version, data, changed_at=None, historical=historical)
            assert ids.setdefault(made.id, change) == change


def test_both_secrets_sign_while_one_is_replaced() -> None:
    headers = signed_headers(MESSAGE, [OTHER, SECRET], datetime.now(UTC))
    assert is_signed(headers, MESSAGE.body, KEY)
    assert is_signed(headers, MESSAGE.body, KEY[::-1])
    assert not is_signed(headers, MESSAGE.body + b" ", KEY)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.ACCEPTED), (202, Verdict.ACCEPTED), (204, Verdict.ACCEPTED), (301, Verdict.FAILED),
        (302, Verdict.FAILED), (307, Verdict.FAILED), (308, Verdict.FAILED), (400, Verdict.REFUSED),
        (401, Verdict.UNAUTHORIZED), (403, Verdict.UNAUTHORIZED), (404, Verdict.FAILED), (405, Verdict.FAILED),
        (408, Verdict.FAILED), (409, Verdict.REFUSED), (410, Verdict.GONE), (413, Verdict.REFUSED),
        (422, Verdict.REFUSED), (425, Verdict.FAILED), (429, Verdict.BUSY), (500, Verdict.FAILED),
        (501, Verdict.FAILED), (502, Verdict.FAILED), (503, Verdict.FAILED), (504, Verdict.FAILED),
    ],
)  # fmt: skip
def test_every_status_has_one_meaning(receiver: Receiver, status: int, verdict: Verdict) -> None:
    receiver.answer = lambda _: Reply(status, {"location": receiver.url})
    sender = client(receiver.url)
    answer = sender.post(MESSAGE)
    sender.close()
    assert (answer.verdict, answer.status) == (verdict, status)
    assert len(receiver.posts) == 1, "a redirect was followed"


def test_an_endpoint_that_asks_to_wait_is_heard(receiver: Receiver) -> None:
    receiver.answer = lambda _: Reply(503, {"retry-after": "7"})
    answer = client(receiver.url).post(MESSAGE)
    assert (answer.verdict, answer.retry_after) == (Verdict.BUSY, 7.0)


def test_answers_are_bounded_in_bytes_and_in_time(receiver: Receiver) -> None:
    receiver.answer = lambda _: Reply(500, {}, b"x" * 3_000_000)
    answer = client(receiver.url).post(MESSAGE)
    assert answer.verdict is Verdict.FAILED
    assert len(answer.words) < 1000
    receiver.answer = lambda _: Reply(200, {}, b"", 30.0)
    began = time.monotonic()
    answer = client(receiver.url, timeout=0.3).post(MESSAGE)
    assert time.monotonic() - began < 3
    assert (answer.verdict, answer.status) == (Verdict.FAILED, None)
    assert "may have taken" in answer.words


def test_an_answer_that_drips_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            taken, _ = server.accept()
            with taken:
                taken.recv(65536)
                try:
                    for byte in b"HTTP/1.1 200 OK\r\nx: " + b"y" * 10_000:
                        taken.sendall(bytes([byte]))
                        time.sleep(0.02)
                except OSError:
                    return

        threading.Thread(target=drip, daemon=True).start()
        began = time.monotonic()
        answer = client(f"http://127.0.0.1:{server.getsockname()[1]}", timeout=0.4).post(MESSAGE)
    assert answer.verdict is Verdict.FAILED
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "127.1"])
def test_a_private_address_is_refused_however_it_is_written(receiver: Receiver, host: str) -> None:
    answer = client(f"http://{host}:{receiver.port}/hook", private=False, allow_http=True).post(MESSAGE)
    assert answer.verdict is Verdict.AWAY
    assert not receiver.posts
    assert "allow_private_addresses" in answer.words or "can't be" in answer.words


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True), ("2001:4860:4860::8888", True), ("10.0.0.1", False), ("172.16.1.1", False),
        ("192.168.0.1", False), ("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.0", False),
        ("224.0.0.1", False), ("255.255.255.255", False), ("::1", False), ("::", False), ("fe80::1%eth0", False),
        ("fc00::1", False), ("::ffff:127.0.0.1", False), ("::ffff:8.8.8.8", True), ("64:ff9b::7f00:1", False),
        ("64:ff9b::808:808", True), ("2002:7f00:1::", False), ("2001:0:1::", False), ("ff02::1", False),
        ("192.0.2.1", False), ("not an address", False),
    ],
)  # fmt: skip
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_no_message_shows_the_path_of_the_address_or_a_secret(receiver: Receiver) -> None:
    url, secret = f"{receiver.url}/a-secret-part?token=hidden", "Bearer hidden"
    texts = []
    for status in (200, 302, 401, 404, 410, 422, 429, 500):
        receiver.answer = lambda _, status=status: Reply(status)  # type: ignore[misc]
        texts.append(client(url, headers={"Authorization": secret}).post(MESSAGE).words)
    receiver.stop()
    texts.append(client(url).post(MESSAGE).words)
    written = {"url": url, "signing_secret": SECRET, "headers": {"Authorization": secret}}
    texts.append(repr(WebhookTargetConnection.model_validate(written)))
    for text in texts:
        assert "hidden" not in text
        assert "a-secret-part" not in text
        assert SECRET not in text


def test_own_headers_arrive_and_ours_can_t_be_replaced(receiver: Receiver) -> None:
    client(receiver.url, headers={"X-Team": "sales"}).post(MESSAGE)
    assert receiver.posts[0].headers["x-team"] == "sales"
    with pytest.raises(ValidationError):
        client(receiver.url, headers={"Webhook-Signature": "v1,x"})


@pytest.mark.parametrize(
    "url", ["ftp://x/", "https://", "https://user:pw@x/", "https://x/#y", "http://example.com/", "https://x y/"]
)
def test_addresses_that_nothing_should_be_posted_to_are_refused_by_the_map(url: str) -> None:
    with pytest.raises(ValidationError):
        client(url)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "not base64!", f"{SECRET},short"])
def test_secrets_that_sign_nothing_well_are_refused_by_the_map(secret: str) -> None:
    with pytest.raises(ValidationError):
        client("https://example.com/", secret=secret)


def test_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert client(receiver.url).post(MESSAGE).verdict is Verdict.ACCEPTED
