"""Posts one message to an endpoint, and what its answer means."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import Enum
from http.cookiejar import CookieJar
from time import monotonic
from typing import NamedTuple

import httpx

from sorbus.http_api import bounded
from sorbus.http_api.client_pool import ClientPool
from sorbus.http_api.error_mapping import clean, retry_after
from sorbus.tls import connection_words, trusted_certificates
from sorbus.webhook.connection import WebhookConnection, secrets_of
from sorbus.webhook.message import WebhookMessage, signed_headers
from sorbus.webhook.public_addresses import PrivateAddress, PublicAddresses

LARGEST_ANSWER = 64 * 1024
"""Bytes: an answer is only read to show it."""
_CONNECT = 10.0
_LONGEST_WORDS = 500


class Verdict(Enum):
    """What an answer says about the message and about the endpoint."""

    ACCEPTED = "accepted"
    REFUSED = "refused"  # this message, however often it is sent
    FAILED = "failed"  # this message or the endpoint, for now
    AWAY = "away"  # nothing answers, whatever is sent
    BUSY = "busy"  # the endpoint, for as long as it says
    UNAUTHORIZED = "unauthorized"  # us
    GONE = "gone"  # the endpoint, for good


class PostAnswer(NamedTuple):
    """`words` says what happened, for people; `said` is the answer's own text; `status` None: no answer came."""

    verdict: Verdict
    at: datetime
    seconds: float
    words: str
    status: int | None = None
    said: str = ""
    retry_after: float | None = None


class WebhookClient:
    """One endpoint. Thread-safe; no redirects, no proxies, and a limit on every answer's size and time."""

    def __init__(self, connection: WebhookConnection, path: str, *, timeout: float, concurrency: int) -> None:
        assert connection.url is not None
        self._url = _joined(connection.url.get_secret_value(), path)
        self._secrets = secrets_of(connection.signing_secret)
        self._headers = {name: value.get_secret_value() for name, value in connection.headers.items()}
        self._origin, self._timeout = connection.origin, timeout
        self._is_private_allowed = connection.allow_private_addresses
        self._clients = ClientPool(self._made_client, concurrency)

    def headers(self, message: WebhookMessage, at: datetime) -> dict[str, str]:
        """What a post at `at` has in its head."""
        return {**self._headers, **signed_headers(message, self._secrets, at)}

    @property
    def hidden_headers(self) -> Sequence[str]:
        """Names of headers whose values are secrets."""
        return [*self._headers, "webhook-signature"]

    def post(self, message: WebhookMessage) -> PostAnswer:
        """Posts it once. Raises nothing that the network or the endpoint could cause."""
        at, began = datetime.now(UTC), monotonic()
        request = self._clients.build_request(
            "POST", self._url, headers=self.headers(message, at), content=message.body
        )
        said, status, headers = "", None, httpx.Headers()
        try:
            with (
                self._clients.client() as client,
                bounded.within(self._timeout),
                bounded.head(client, request) as response,
            ):
                status, headers = response.status_code, response.headers
                said = _text(response)
        except (httpx.HTTPError, httpx.StreamError, bounded.TooLarge, bounded.UnknownEncoding) as error:
            if status is None:
                is_away = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                verdict = Verdict.AWAY if is_away else Verdict.FAILED
                return PostAnswer(verdict, at, monotonic() - began, self._why(error))
        wait = retry_after(headers)
        assert status is not None
        verdict, why = _meaning(status, wait)
        words = f"{self._origin} answered {status}{f' ({why})' if why else ''}{f': {said}' if said else ''}"
        return PostAnswer(verdict, at, monotonic() - began, words, status, said, wait)

    def close(self) -> None:
        """Ends its connections."""
        self._clients.close()

    def _made_client(self, cookies: CookieJar) -> httpx.Client:
        client = httpx.Client(
            timeout=httpx.Timeout(self._timeout, connect=min(_CONNECT, self._timeout)),
            cookies=cookies,
            follow_redirects=False,
            verify=trusted_certificates(),
            trust_env=False,  # a proxy would resolve the host, unchecked
        )
        if not self._is_private_allowed:
            pool = getattr(client._transport, "_pool")  # noqa: B009 - httpx has no parameter for it
            pool._network_backend = PublicAddresses()
        return client

    def _why(self, error: Exception) -> str:
        cause = error.__cause__
        if isinstance(cause, PrivateAddress):
            return (
                f"{self._origin} is not on the internet, and nothing is sent there: write allow_private_addresses: true"
                " into the connection if that is meant"
            )
        if isinstance(error, httpx.TimeoutException):
            return f"{self._origin} has not answered within {self._timeout:.0f} s; it may have taken the record anyway"
        if isinstance(error, httpx.ConnectError):
            return f"{self._origin} can't be reached: {clean(connection_words(error))}"
        return f"{self._origin} broke off ({type(error).__name__}); it may have taken the record anyway"


def _joined(url: str, path: str) -> str:
    if not path:
        return url
    base, mark, query = url.partition("?")
    return f"{base.rstrip('/')}/{path}{mark}{query}"


def _text(response: httpx.Response) -> str:
    """The beginning of an answer that isn't a success."""
    if response.is_success:
        return ""
    held = b""
    for chunk in response.iter_raw():
        held += chunk
        if len(held) >= LARGEST_ANSWER:
            break
    if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        return ""
    return clean(held[:LARGEST_ANSWER].decode("utf-8", "replace"))[:_LONGEST_WORDS]


def _meaning(status: int, wait: float | None) -> tuple[Verdict, str]:
    """What a status says, and what a person should know about it."""
    if 200 <= status < 300:
        return Verdict.ACCEPTED, ""
    if 300 <= status < 400:
        return Verdict.FAILED, "a redirect, which isn't followed: write the address that it leads to"
    if status in (401, 403):
        return Verdict.UNAUTHORIZED, "it rejects the signature, or the headers: compare the secrets on both sides"
    if status == 410:
        return Verdict.GONE, "it wants no more of these"
    if status == 429 or (status == 503 and wait is not None):
        return Verdict.BUSY, "it asks to wait"
    if status in (404, 405):
        return Verdict.FAILED, "nothing takes posts at that address: is the workflow active, and the url complete?"
    if status in (408, 425) or status >= 500:
        return Verdict.FAILED, "a fault on its side"
    return Verdict.REFUSED, "it refuses this record"
