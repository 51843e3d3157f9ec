"""Forms of the console are sent from its own pages, by the session that got them, and not larger than they need be."""

from __future__ import annotations

import socket

import httpx
import pytest

from tests.ops.console.visitor import Served

DEED = "/measure"
"""The first page's form, which has everything measured at once."""


@pytest.fixture
def token(console: Served) -> str:
    """The token of a visitor that isn't the one who posts."""
    return console.visitor().token("/")


def test_a_form_of_our_own_page_gets_through(console: Served) -> None:
    visitor = console.visitor()
    answer = visitor.post(DEED, form="/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "Measuring now." in visitor.get("/").text
    assert "Measuring now." not in visitor.get("/").text, "it is said once"


@pytest.mark.parametrize("sent", ["", "0" * 64, "é"])
def test_a_missing_or_made_up_token_is_refused(console: Served, sent: str) -> None:
    assert console.visitor().post(DEED, {"csrf": sent}, form="/").status_code == 403


def test_the_token_of_another_session_is_refused(console: Served, token: str) -> None:
    assert console.visitor().post(DEED, {"csrf": token}, form="/").status_code == 403


def test_a_form_without_a_cookie_is_refused(console: Served, token: str) -> None:
    assert httpx.post(console.url + DEED, data={"csrf": token}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_a_form_of_another_site_is_refused_even_with_the_right_token(console: Served, headers: dict[str, str]) -> None:
    answer = console.visitor().post(DEED, form="/", **headers)
    assert answer.status_code == 403
    assert "another site" in answer.text


def test_no_method_that_changes_something_goes_unchecked(console: Served) -> None:
    for method in ("PUT", "PATCH", "DELETE", "POST"):
        assert console.visitor().client.request(method, DEED).status_code == 403, method


def test_an_oversize_form_is_refused_before_it_is_read(console: Served) -> None:
    with socket.create_connection(
        (console.url.split("/")[2].split(":")[0], int(console.url.rpartition(":")[2]))
    ) as line:
        line.settimeout(20)
        line.sendall(b"POST /measure HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 999999999999\r\n\r\n")
        assert line.recv(100).startswith(b"HTTP/1.1 413 ")


def test_an_oversize_form_that_says_no_length_is_cut_off(console: Served) -> None:
    def endless():  # type: ignore[no-untyped-def]
        for _ in range(40):
            yield b"x" * 65536

    answer = console.visitor().client.post(DEED, content=endless())
    assert answer.status_code == 413


def test_a_form_of_too_many_fields_is_refused(console: Served) -> None:
    data = {"csrf": console.visitor().token("/"), "id": [str(number) for number in range(6000)]}
    answer = console.visitor().client.post(DEED, data=data)
    assert answer.status_code == 400
