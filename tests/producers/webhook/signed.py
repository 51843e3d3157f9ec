"""Deliveries as the vendors sign them, written from their documents and not with the code that verifies them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import quote

from sorbus.http_api.description import ApiEvent, Webhooks
from sorbus.webhook.signatures import WebhookRequest

URL = "https://sorbus.example/webhooks/crm"
SECRET = "whsec_" + base64.b64encode(b"a key of the tests, 32 bytes lon").decode()
EVENT = ApiEvent(
    type="type",
    id="id",
    resources={"contact.*": "contacts", "company.*": "companies", "secret.*": "secrets"},
    deleted=["contact.deleted"],
)


def webhooks(signature: str, **more: object) -> Webhooks:
    return Webhooks.model_validate({"signature": signature, "event": EVENT} | more)


ZENDESK = {
    "header": "X-Zendesk-Webhook-Signature",
    "timestamp_header": "X-Zendesk-Webhook-Signature-Timestamp",
}
GITHUB = {"header": "X-Hub-Signature-256", "prefix": "sha256=", "encoding": "hex"}
SCHEMES = {
    "xero": webhooks("xero"),
    "stripe": webhooks("stripe"),
    "hubspot": webhooks("hubspot-v3"),
    "standard": webhooks("standard-webhooks", delivery_header="webhook-id"),
    "zendesk": webhooks("hmac-sha256", **ZENDESK),
    "github": webhooks("hmac-sha256", **GITHUB),
    "gitlab": webhooks("shared-secret", header="X-Gitlab-Token"),
    "bearer": webhooks("shared-secret", header="Authorization", prefix="Bearer "),
    "in-path": webhooks("shared-secret"),
    "in-query": webhooks("shared-secret", parameter="token"),
}
UNSIGNED = ("gitlab", "bearer", "in-path", "in-query")
"""Those that send the secret as it is."""
TIMED = ("stripe", "hubspot", "standard", "zendesk")


def sign(
    scheme: str, body: bytes, at: int, *, secret: str = SECRET, id: str = "msg_1", url: str = URL
) -> WebhookRequest:
    """A delivery of the scheme, signed with `secret` at `at` (Unix seconds)."""
    token = secret if scheme in ("in-path", "in-query") else ""
    return WebhookRequest("POST", url, headers(scheme, body, at, secret=secret, id=id, url=url), body, token)


def address(scheme: str, secret: str = SECRET) -> str:
    """Where a scheme's application posts to."""
    end = {"in-path": f"/{quote(secret, safe='')}", "in-query": f"?token={quote(secret, safe='')}"}.get(scheme, "")
    return f"/webhooks/{scheme}{end}"


def headers(
    scheme: str, body: bytes, at: int, *, secret: str = SECRET, id: str = "msg_1", url: str = URL
) -> dict[str, str]:
    key = secret.encode()
    if scheme == "xero":
        return {"x-xero-signature": _base64(key, body)}
    if scheme == "stripe":
        return {"stripe-signature": f"t={at},v1={_hex(key, f'{at}.'.encode() + body)}"}
    if scheme == "hubspot":
        signed = b"POST" + url.encode() + body + f"{at * 1000}".encode()
        return {"x-hubspot-signature-v3": _base64(key, signed), "x-hubspot-request-timestamp": f"{at * 1000}"}
    if scheme == "standard":
        signature = _base64(base64.b64decode(secret.removeprefix("whsec_")), f"{id}.{at}.".encode() + body)
        return {"webhook-id": id, "webhook-timestamp": str(at), "webhook-signature": f"v1,{signature}"}
    if scheme == "zendesk":
        from datetime import UTC, datetime

        sent = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "x-zendesk-webhook-signature": _base64(key, sent.encode() + body),
            "x-zendesk-webhook-signature-timestamp": sent,
        }
    if scheme == "gitlab":
        return {"x-gitlab-token": secret}
    if scheme == "bearer":
        return {"authorization": f"Bearer {secret}"}
    if scheme in ("in-path", "in-query"):
        return {}
    assert scheme == "github", scheme
    return {"x-hub-signature-256": f"sha256={_hex(key, body)}"}


def _base64(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _hex(key: bytes, signed: bytes) -> str:
    return hmac.new(key, signed, hashlib.sha256).hexdigest()
