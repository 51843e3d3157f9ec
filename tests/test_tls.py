"""What people are told of a server that can't be reached."""

from __future__ import annotations

import httpx

from sorbus.tls import connection_words, trusted_certificates
from tests.http_api.applications import answering, as_json


def test_a_port_without_tls_is_named_and_error_numbers_are_left_out() -> None:
    with answering(lambda _: as_json(200, {})) as (url, _):
        assert "write http:// in place of https://" in _words(url.replace("http://", "https://"))
    assert _words(url) == "Connection refused"


def _words(url: str) -> str:
    try:
        httpx.get(url, verify=trusted_certificates())
    except httpx.ConnectError as error:
        return connection_words(error)
    return "it answers"
