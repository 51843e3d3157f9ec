"""Ways to a registry that wants to know who asks: passwords, tokens, certificates. Behind the gate is the real one."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import traceback
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from sorbus.bus.registry import ConfluentRegistry
from sorbus.bus.registry_access import _seconds
from sorbus.errors import AuthError, SorbusError, TransientError, UsageError
from sorbus.ops.embedded import Addresses
from sorbus.ops.monitoring.dependencies import Dependencies, _ask_registry
from sorbus.settings import Settings

SCHEMA = '{"type": "record", "name": "gate", "fields": []}'


class Gate:
    """Lets through to the registry whose Authorization is `wanted`; /token gives `wanted`'s next value."""

    def __init__(self, registry: str, wanted: str) -> None:
        self.registry, self.wanted = registry, wanted
        self.tokens, self.asked, self.seen = 0, 0, list[str]()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked += 1
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length)
        if handler.path == "/token":
            assert base64.b64decode(handler.headers["Authorization"].split()[1]) == b"me:secret"
            assert b"grant_type=client_credentials" in body
            self.tokens += 1
            self.wanted = f"Bearer t{self.tokens}"
            self._send(handler, 200, json.dumps({"access_token": f"t{self.tokens}", "expires_in": 300}).encode())
            return
        self.seen.append(handler.headers.get("target-sr-cluster") or "")
        if handler.headers.get("Authorization") != self.wanted:
            self._send(handler, 401, b"{}")
            return
        request = urllib.request.Request(
            self.registry + handler.path, body or None, {"Content-Type": "application/json"}, method=handler.command
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            self._send(handler, answer.status, answer.read())

    def _send(self, handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@contextmanager
def standing(gate: Gate, context: ssl.SSLContext | None = None) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            gate.answer(self)

        def do_POST(self) -> None:
            gate.answer(self)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"{'https' if context else 'http'}://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({"basic.auth.user.info": "me:se:cret"}, "Basic " + base64.b64encode(b"me:se:cret").decode()),
        ({"bearer.auth.token": "abc"}, "Bearer abc"),
    ],
)
def test_a_password_and_a_token_are_sent(stack: Addresses, unique: str, config: dict[str, str], wanted: str) -> None:
    gate = Gate(stack.registry, wanted)
    with standing(gate) as url:
        asked = ConfluentRegistry(Settings(registry=url, registry_config=config))
        assert asked.register(f"{unique}-value", SCHEMA) > 0
        gate.wanted = "another"
        with pytest.raises(AuthError, match="denies access"):
            asked.latest(f"{unique}-value")


def test_oauth_tokens_are_fetched_once_and_again_when_refused(stack: Addresses, unique: str) -> None:
    gate = Gate(stack.registry, "none yet")
    with standing(gate) as url:
        config = {
            "bearer.auth.issuer.endpoint.url": f"{url}/token",
            "bearer.auth.client.id": "me",
            "bearer.auth.client.secret": "secret",
            "bearer.auth.logical.cluster": "lsrc-1",
        }
        asked = ConfluentRegistry(Settings(registry=url, registry_config=config))
        for _ in range(3):
            asked.register(f"{unique}-value", SCHEMA)
        assert gate.tokens == 1
        assert set(gate.seen) == {"lsrc-1"}
        gate.wanted = "revoked"
        assert asked.latest(f"{unique}-value") is not None
        assert gate.tokens == 2


def test_an_issuer_that_refuses_us_needs_a_person() -> None:
    gate = Gate("http://nowhere", "none")
    with standing(gate) as url:
        config = {
            "bearer.auth.issuer.endpoint.url": f"{url.replace('://', '://me:hush@')}/subjects?key=hush",
            "bearer.auth.client.id": "me",
            "bearer.auth.client.secret": "hush",
        }
        with pytest.raises(
            AuthError, match=r"http://localhost/subjects refuses us with status 401; see bearer\.auth"
        ) as told:
            ConfluentRegistry(Settings(registry=url, registry_config=config)).latest("a")
    assert "hush" not in str(told.value)


def test_a_private_ca_and_a_client_certificate(stack: Addresses, unique: str, tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    mine = ca.issue_cert("sorbus@example.com")
    mine.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    mine.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.verify_mode = ssl.CERT_REQUIRED
    ca.issue_cert("localhost").configure_cert(context)
    ca.configure_trust(context)
    gate = Gate(stack.registry, "Bearer abc")
    with standing(gate, context) as url:
        known = {"bearer.auth.token": "abc", "ssl.ca.location": str(tmp_path / "ca.pem")}
        own = {
            "ssl.certificate.location": str(tmp_path / "cert.pem"),
            "ssl.key.location": str(tmp_path / "key.pem"),
        }
        assert ConfluentRegistry(Settings(registry=url, registry_config={**known, **own})).register(unique, SCHEMA)
        watched = Dependencies(Settings(registry=url, registry_config={**known, **own}), unique, every=0.0)()
        assert "registry" not in [problem.subject for problem in watched], "what watches it presents the same"
        for config in (known, {"bearer.auth.token": "abc", **own}):
            with pytest.raises(SorbusError):
                ConfluentRegistry(Settings(registry=url, registry_config=config)).latest(unique)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"sasl.password": "hush"}, "sasl.password isn't known"),
        ({"bearer.auth.token": "hush", "basic.auth.user.info": "a:hush"}, "keep one of them"),
        ({"bearer.auth.issuer.endpoint.url": "https://issuer.example"}, "needs bearer.auth.client.id and"),
        ({"ssl.key.location": "key.pem"}, "needs ssl.certificate.location"),
        ({"ssl.ca.location": "/nowhere.pem"}, "/nowhere.pem"),
        ({"bearer.auth.token": "hush\n"}, "line break"),
        ({"bearer.auth.token": "hush\u20ac"}, "beyond ASCII"),
    ],
)
def test_what_can_not_be_used_is_said(config: dict[str, str], words: str) -> None:
    make: Callable[[], object] = lambda: ConfluentRegistry(Settings(registry="http://x", registry_config=config))  # noqa: E731
    with pytest.raises(UsageError, match=words) as told:
        make()
    assert "hush" not in str(told.value)


class Issuer(Gate):
    """An issuer that answers `body`, after `wait` seconds."""

    def __init__(self, body: bytes, wait: float = 0.0) -> None:
        super().__init__("http://nowhere", "none")
        self.body, self.wait = body, wait

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        threading.Event().wait(self.wait)
        with suppress(OSError):  # nobody reads more than is allowed
            self._send(handler, 200, self.body)


def by_tokens_of(url: str) -> ConfluentRegistry:
    config = {
        "bearer.auth.issuer.endpoint.url": f"{url}/token",
        "bearer.auth.client.id": "me",
        "bearer.auth.client.secret": "secret",
    }
    return ConfluentRegistry(Settings(registry=url, registry_config=config))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"access_token": null}',
        b'{"access_token": "hush\\r\\nX: 1"}',
        b'{"access_token": "hush\xe2\x82\xac"}',
        b'{"access_token": {"a": "hush"}}',
        b'{"access_token": "' + b"hush" * 300_000 + b'"}',
    ],
)
def test_what_is_no_token_is_waited_for_and_never_shown(body: bytes) -> None:
    with standing(Issuer(body)) as url, pytest.raises(TransientError, match="token endpoint") as told:
        by_tokens_of(url).latest("a")
    assert "hush" not in str(told.value)


@given(lasts=st.none() | st.booleans() | st.floats() | st.integers(-(10**400), 10**400) | st.text(max_size=5))
def test_any_life_of_a_token_is_read_or_taken_as_unknown(lasts: object) -> None:
    seconds = _seconds(lasts)
    assert seconds is None or 0 < seconds < float("inf")


def test_a_hanging_issuer_is_named_and_holds_no_call_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sorbus.bus.registry.LONGEST_CALL", 0.5)
    with standing(Issuer(b"{}", wait=3.0)) as url:
        began = monotonic()
        with pytest.raises(TransientError, match=r"token endpoint .* can't answer"):
            by_tokens_of(url).latest("a")
    assert monotonic() - began < 3.0


@pytest.mark.parametrize(
    "url",
    [
        "http://sam:hunt/er22@127.0.0.1:1",
        "http://sam:hunt#er22@127.0.0.1:1",
        "http://sam:hunter22@127.0.0.1:hunt",
        "http://sam:hunter22@[::1",
        "sam:hunter22@127.0.0.1:8081",
        "hunter22",
    ],
)
def test_an_address_that_is_none_is_refused_without_a_part_of_its_password(url: str) -> None:
    with pytest.raises(UsageError, match="SORBUS_REGISTRY is not an address") as refused:
        ConfluentRegistry(Settings(registry=url))
    assert "hunt" not in "".join(traceback.format_exception(refused.value, limit=0))


@pytest.mark.parametrize("proxy", ["", "http://sam:hunter22@127.0.0.1:2", "http://127.0.0.1:2"])
def test_a_registry_that_is_not_reached_is_named_with_the_proxy_in_between(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, proxy)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    through = r" \(through the proxy 127\.0\.0\.1:2\)" if proxy else ""
    settings = Settings(registry="http://ann:wonder@127.0.0.1:1/apis")
    latest = ConfluentRegistry(settings).latest
    asks: list[Callable[[], object]] = [lambda: latest("a"), lambda: _ask_registry(settings)]
    for ask in asks:
        with pytest.raises(TransientError, match=rf"127\.0\.0\.1:1{through}.*: Connection refused") as told:
            ask()
        assert "hunter22" not in str(told.value)
        assert "wonder" not in str(told.value)
