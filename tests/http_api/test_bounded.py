"""Answers that never end, or are far larger than they look: each call ends in its time, and holds little."""

from __future__ import annotations

import gzip
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic

import httpx
import pytest

from sorbus.http_api import bounded

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
GZIP = b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
MEGA = 1024 * 1024


@contextmanager
def peer(answers: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """A server on loopback that answers one connection as told, until the block ends."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            with suppress(OSError), server.accept()[0] as one:
                one.recv(65_536)
                answers(one, ended)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        finally:
            ended.set()
    thread.join(5)


def dripping(first: bytes, piece: bytes) -> Callable[[socket.socket, threading.Event], None]:
    def answers(one: socket.socket, ended: threading.Event) -> None:
        one.sendall(first)
        while not ended.wait(0.05):
            one.sendall(piece)

    return answers


def chunked(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


@pytest.mark.parametrize(
    "answers",
    [
        dripping(HEAD, b"X"),
        dripping(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        dripping(HEAD + GZIP + chunked(b"\x1f\x8b\x08\0\0\0\0\0\0\x03"), chunked(b"\0\0\0\xff\xff" * 20)),
        dripping(HEAD + b"\r\n[", b" "),
    ],
    ids=["headers", "interim answers", "empty gzip blocks", "body"],
)
def test_a_call_ends_in_its_time_whatever_drips(answers: Callable[[socket.socket, threading.Event], None]) -> None:
    with peer(answers) as url, httpx.Client(timeout=5) as client:
        began = monotonic()
        with pytest.raises(httpx.TimeoutException), bounded.within(1.0):
            bounded.read(client, client.build_request("GET", url), largest=MEGA)
        assert monotonic() - began < 4, "the clock is of the whole call, not of each read"


@pytest.mark.parametrize("looks", range(1, 14))
def test_wherever_the_time_is_over_it_is_httpxs_error(looks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = 0

    def clock() -> float:
        nonlocal seen
        seen += 1
        return 0.0 if seen <= looks else 100.0

    def answers(one: socket.socket, _ended: threading.Event) -> None:
        one.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"x") * 3 + chunked(b""))

    monkeypatch.setattr(bounded, "monotonic", clock)
    with peer(answers) as url, httpx.Client(timeout=5) as client, bounded.within(1.0):
        try:
            _, content = bounded.read(client, client.build_request("GET", url), largest=MEGA)
        except httpx.TimeoutException:
            return
    assert content == b"xxx"
    assert seen <= looks


def test_an_upload_that_is_never_read_ends_in_its_time() -> None:
    def reads_nothing(_one: socket.socket, ended: threading.Event) -> None:
        ended.wait(20)

    with (
        peer(reads_nothing) as url,
        httpx.Client(timeout=30) as client,
        pytest.raises(httpx.TimeoutException),
        bounded.within(1.0),
    ):
        bounded.read(client, client.build_request("POST", url, content=b"x" * 64 * MEGA), largest=MEGA)


def whole(content: bytes, encoding: str) -> Callable[[socket.socket, threading.Event], None]:
    head = HEAD + f"Content-Encoding: {encoding}\r\nContent-Length: {len(content)}\r\n\r\n".encode()
    return lambda one, _ended: one.sendall(head + content)


def test_what_unpacks_to_more_than_the_limit_is_refused_before_it_is_unpacked() -> None:
    packed = gzip.compress(b"\0" * 50 * MEGA)
    with peer(whole(packed, "gzip")) as url, httpx.Client(timeout=5) as client, pytest.raises(bounded.TooLarge):
        bounded.read(client, client.build_request("GET", url), largest=MEGA)


@pytest.mark.parametrize("encoding", ["gzip, gzip", "deflate", "br", "gzip,identity"])
def test_only_one_gzip_is_unpacked(encoding: str) -> None:
    packed = gzip.compress(gzip.compress(b"\0" * 50 * MEGA))
    with (
        peer(whole(packed, encoding)) as url,
        httpx.Client(timeout=5) as client,
        pytest.raises(bounded.UnknownEncoding),
    ):
        bounded.read(client, client.build_request("GET", url), largest=MEGA)


@pytest.mark.parametrize("content", [b"[]", b"", b"[" + b"1," * 100_000 + b"1]"])
def test_a_packed_answer_is_read_whole(content: bytes) -> None:
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(content) + packer.flush()
    with peer(whole(packed, "gzip")) as url, httpx.Client(timeout=5) as client, bounded.within(5):
        _, found = bounded.read(client, client.build_request("GET", url), largest=MEGA)
    assert found == content


def test_a_packed_answer_that_is_cut_short_is_no_answer() -> None:
    packed = gzip.compress(b"[1, 2, 3]")[:-9]
    with peer(whole(packed, "gzip")) as url, httpx.Client(timeout=5) as client, pytest.raises(httpx.DecodingError):
        bounded.read(client, client.build_request("GET", url), largest=MEGA)
