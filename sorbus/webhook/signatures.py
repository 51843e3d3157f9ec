"""Whether a delivery was signed by the application itself, and lately; no I/O.

Xero: developer.xero.com, "Configuring your server". Stripe: docs.stripe.com, "Verify webhook signatures manually".
HubSpot: developers.hubspot.com, "Validate the v3 request signature". Zendesk: developer.zendesk.com, "Verifying
webhooks". Standard Webhooks: standardwebhooks.com.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple

from sorbus.errors import SorbusError
from sorbus.http_api.description import Moment, WebhookSignature

_DIGITS = re.compile(r"[0-9]{1,13}", re.ASCII)
_HUBSPOT_PLAIN = {
    f"%{ord(character):02X}": character for character in ":/?@!$'()*,;"
}  # what HubSpot signs as it is, even where the URL has it encoded


class WebhookRequest(NamedTuple):
    """What was posted to us. `url` is the address that the application was told; header names are in lower case.

    `token` is what a shared secret's place in the address holds.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    token: str = ""


class RefusedRequest(SorbusError):
    """Nobody who knows the secret sent this, or not lately; `reason` is `unsigned` or `stale`."""

    def __init__(self, message: str, reason: Literal["unsigned", "stale"] = "unsigned") -> None:
        self.reason = reason
        super().__init__(message)


class _Claim(NamedTuple):
    """What a delivery says about itself: signatures, of which one has to be `sign(secret)`, and when it was sent."""

    signatures: Sequence[str]
    sign: Callable[[str], str]
    at: float | None


def verify(webhooks: WebhookSignature, secrets: Sequence[str], delivery: WebhookRequest, now: float) -> None:
    """Returns if one of `secrets` has signed the delivery, within the tolerance of `now` (Unix seconds).

    RefusedRequest otherwise. Comparisons take the same time wherever the first difference is.
    """
    claim = _CLAIMS[webhooks.signature](webhooks, delivery)
    _require_recent(webhooks, claim, now)
    expected = [_digest(claim.sign(secret)) for secret in secrets]
    given = [_digest(signature) for signature in claim.signatures]
    if not any([hmac.compare_digest(one, other) for one in expected for other in given]):  # noqa: C419 (all, always)
        raise RefusedRequest("its signature does not match")


def refuse_early(webhooks: WebhookSignature, secrets: Sequence[str], delivery: WebhookRequest, now: float) -> None:
    """What can be refused before the body is read: no signature, an old one, a shared secret that isn't ours.

    RefusedRequest; `delivery.body` is not looked at.
    """
    if webhooks.signature == "shared-secret":
        verify(webhooks, secrets, delivery, now)
    else:
        _require_recent(webhooks, _CLAIMS[webhooks.signature](webhooks, delivery._replace(body=b"")), now)


def _require_recent(webhooks: WebhookSignature, claim: _Claim, now: float) -> None:
    if claim.at is not None and not abs(now - claim.at) <= webhooks.tolerance.total_seconds():
        raise RefusedRequest("it was signed too long ago, or its sender's clock or ours is wrong", "stale")


def _digest(text: str) -> bytes:
    """Of equal length whatever the text is, so that comparing tells nothing of it."""
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


def is_key(secret: str, *, fewest: int = 1) -> bool:
    """Whether it can be a secret of Standard Webhooks: base64 of `fewest` bytes or more, with or without whsec_."""
    try:
        return len(_key(secret)) >= fewest
    except ValueError:
        return False


def _key(secret: str) -> bytes:
    """ValueError for what isn't base64."""
    text = secret.removeprefix("whsec_").rstrip("=")
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def _xero(_webhooks: WebhookSignature, delivery: WebhookRequest) -> _Claim:
    return _Claim([_header(delivery, "x-xero-signature")], _base64_of(delivery.body), None)


def _stripe(_webhooks: WebhookSignature, delivery: WebhookRequest) -> _Claim:
    parts = [part.partition("=") for part in _header(delivery, "stripe-signature").split(",")]
    sent = [value for name, _, value in parts if name == "t"]
    if len(sent) != 1:
        raise RefusedRequest("its Stripe-Signature names no time")
    signed = sent[0].encode() + b"." + delivery.body
    return _Claim([value for name, _, value in parts if name == "v1"], _hex_of(signed), _moment(sent[0], "epoch"))


def _hubspot(_webhooks: WebhookSignature, delivery: WebhookRequest) -> _Claim:
    sent = _header(delivery, "x-hubspot-request-timestamp")
    url = delivery.url
    for encoded, plain in _HUBSPOT_PLAIN.items():
        url = url.replace(encoded, plain).replace(encoded.lower(), plain)
    signed = delivery.method.encode() + url.encode() + delivery.body + sent.encode()
    return _Claim([_header(delivery, "x-hubspot-signature-v3")], _base64_of(signed), _moment(sent, "epoch-ms"))


def _standard(_webhooks: WebhookSignature, delivery: WebhookRequest) -> _Claim:
    id, sent = _header(delivery, "webhook-id"), _header(delivery, "webhook-timestamp")
    at = _moment(sent, "epoch")
    if sent != str(int(at)):  # the library signs the number: 007 would pass for 7
        raise RefusedRequest("its time of sending can't be read")
    signed = f"{id}.{sent}.".encode() + delivery.body  # its bytes: a compressed body is no text

    def sign(secret: str) -> str:
        return f"v1,{base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()}"

    return _Claim(_header(delivery, "webhook-signature").split(" "), sign, at)


def _generic(webhooks: WebhookSignature, delivery: WebhookRequest) -> _Claim:
    given = _header(delivery, webhooks.header)
    if not given.startswith(webhooks.prefix):
        raise RefusedRequest(f"its header {webhooks.header} doesn't begin with {webhooks.prefix}")
    signed, at = delivery.body, None
    if webhooks.timestamp_header:
        sent = _header(delivery, webhooks.timestamp_header)
        signed, at = sent.encode() + signed, _moment(sent, webhooks.timestamp_format)
    sign = _hex_of(signed) if webhooks.encoding == "hex" else _base64_of(signed)
    return _Claim([given.removeprefix(webhooks.prefix)], sign, at)


def _shared(webhooks: WebhookSignature, delivery: WebhookRequest) -> _Claim:
    """A secret that is sent as it is, by applications that can't sign."""
    if not webhooks.header:
        if not delivery.token:
            raise RefusedRequest("its address holds no secret")
        return _Claim([delivery.token], lambda secret: secret, None)
    given = _header(delivery, webhooks.header)
    if not given.startswith(webhooks.prefix):
        raise RefusedRequest(f"its header {webhooks.header} doesn't begin with {webhooks.prefix}")
    return _Claim([given.removeprefix(webhooks.prefix)], lambda secret: secret, None)


_CLAIMS: Mapping[str, Callable[[WebhookSignature, WebhookRequest], _Claim]] = {
    "xero": _xero,
    "stripe": _stripe,
    "hubspot-v3": _hubspot,
    "standard-webhooks": _standard,
    "hmac-sha256": _generic,
    "shared-secret": _shared,
}


def _header(delivery: WebhookRequest, name: str) -> str:
    value = delivery.headers.get(name.lower(), "")
    if not value:
        raise RefusedRequest(f"it has no header {name}")
    return value


def _base64_of(signed: bytes) -> Callable[[str], str]:
    return lambda secret: base64.b64encode(hmac.digest(secret.encode(), signed, hashlib.sha256)).decode()


def _hex_of(signed: bytes) -> Callable[[str], str]:
    return lambda secret: hmac.digest(secret.encode(), signed, hashlib.sha256).hex()


def _moment(text: str, form: Moment) -> float:
    """A time of sending in Unix seconds; RefusedRequest if it can't be read."""
    try:
        if form in ("epoch", "epoch-ms"):
            if not _DIGITS.fullmatch(text):
                raise ValueError(text)
            return int(text) / (1000 if form == "epoch-ms" else 1)
        moment = parsedate_to_datetime(text) if form == "http-date" else datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise RefusedRequest("its time of sending can't be read") from error
