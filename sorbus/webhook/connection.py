"""The `connection:` of a system of kind webhook, for both directions."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Self
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from sorbus.http_api.description import WebhookSignature
from sorbus.webhook.signatures import is_key

_UNSET = re.compile(r"\$\{[^}]*\}")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_OURS = {"content-type", "content-length", "host", "webhook-id", "webhook-timestamp", "webhook-signature"}
_FEWEST_BYTES = 16
_SHORTEST_SECRET = 16
"""Characters."""

Secret = Annotated[SecretStr, BeforeValidator(lambda given: str(given) if isinstance(given, int) else given)]


def _web_address(given: SecretStr) -> SecretStr:
    url = given.get_secret_value()
    if _UNSET.search(url):
        return given
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("it is not a valid web address; write https://HOST/PATH") from None
    if parts.scheme not in ("http", "https") or not host or re.search(r"[\s\\]", url):
        raise ValueError("it is not a valid web address; write https://HOST/PATH")
    if parts.username or parts.password:
        raise ValueError("it contains a user or a password; write `headers: {Authorization: ${...}}`")
    if parts.fragment:
        raise ValueError("it has a part after #, which no server receives; remove it")
    return given


def _signing_keys(given: SecretStr) -> SecretStr:
    if not secrets_of(given):
        raise ValueError("it is empty; `sorbus webhook secret` makes one")
    for secret in secrets_of(given):
        if not _UNSET.search(secret) and not is_key(secret, fewest=_FEWEST_BYTES):
            raise ValueError(
                f"it is not a secret of Standard Webhooks (whsec_ and at least {_FEWEST_BYTES} bytes in base64);"
                " `sorbus webhook secret` makes one"
            )
    return given


def _own_headers(given: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name, value in given.items():
        if not _HEADER.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a header")
        if name.lower() in _OURS:
            raise ValueError(f"{name} is set by Sorbus; remove it")
        if not value.get_secret_value().isprintable() or not value.get_secret_value().isascii():
            raise ValueError(f"the value of {name} has characters that a header can't hold")
    return given


def secrets_of(given: SecretStr | None) -> tuple[str, ...]:
    """A secret's values: several, separated by commas, while one is being replaced."""
    return () if given is None else tuple(one for part in given.get_secret_value().split(",") if (one := part.strip()))


class WebhookConnection(BaseModel):
    """Where changes are posted, and how what is posted to Sorbus is verified. A system may have both."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[Secret, AfterValidator(_web_address)] | None = Field(
        default=None,
        description="Where changes are posted. It is never shown whole, since such addresses hold secrets.",
    )
    signing_secret: Annotated[Secret, AfterValidator(_signing_keys)] | None = Field(
        default=None,
        description="What changes are signed with (Standard Webhooks): whsec_...; the new one and the old one,"
        " separated by a comma, while it is being replaced.",
    )
    headers: Annotated[dict[str, Secret], AfterValidator(_own_headers)] = Field(
        default={}, description="More headers of what is posted, such as Authorization."
    )
    allow_private_addresses: bool = Field(
        default=False, description="The url may lead into a private network or to this machine."
    )
    allow_http: bool = Field(default=False, description="Plain http to another machine: anyone in between can read it.")
    webhook_secret: Secret | None = Field(
        default=None,
        description="What records that are posted to Sorbus are signed with, or the secret in the address.",
    )
    verify: WebhookSignature = Field(
        default=WebhookSignature(signature="standard-webhooks"),
        description="How Sorbus verifies who posts to it; default: Standard Webhooks.",
    )
    delivery_header: str = Field(
        default="webhook-id", description="The header with a delivery's own id, which its repetitions share."
    )

    @model_validator(mode="after")
    def _is_encrypted(self) -> Self:
        url = "" if self.url is None else self.url.get_secret_value()
        if url.startswith("http://") and not self.allow_http and not is_this_machine(urlsplit(url).hostname or ""):
            raise ValueError(
                "url would send records unencrypted; write https://, or allow_http: true in your own network"
            )
        return self

    @model_validator(mode="after")
    def _can_be_verified(self) -> Self:
        for secret in secrets_of(self.webhook_secret):
            if _UNSET.search(secret):
                continue
            if self.verify.signature == "standard-webhooks" and not is_key(secret, fewest=_FEWEST_BYTES):
                raise ValueError("webhook_secret is not base64 of a secret; copy it whole: whsec_...")
            if len(secret) < _SHORTEST_SECRET:
                raise ValueError(
                    f"webhook_secret is too short to be safe; write {_SHORTEST_SECRET} characters or more at random"
                )
            if self.is_secret_in_path and quote(secret, safe="") != secret:
                raise ValueError("webhook_secret is a part of the address: take letters, digits, - and _")
        if self.verify.signature == "hmac-sha256" and not self.verify.header:
            raise ValueError("nothing says where the signature is; write `header: NAME` into `verify:`")
        if self.verify.signature == "hubspot-v3":
            raise ValueError("hubspot-v3 signs an address; write a description of the application (docs/http.md)")
        return self

    @property
    def is_secret_in_path(self) -> bool:
        """Whether the secret is the end of the address that is posted to."""
        return self.verify.signature == "shared-secret" and not (self.verify.header or self.verify.parameter)

    @property
    def origin(self) -> str:
        """The url without its path, for people: https://hooks.example.com."""
        parts = urlsplit("" if self.url is None else self.url.get_secret_value())
        return f"{parts.scheme}://{parts.netloc}"


class WebhookTargetConnection(WebhookConnection):
    """Of a system that changes are posted to."""

    url: Annotated[Secret, AfterValidator(_web_address)] = Field(
        description="Where changes are posted. It is never shown whole, since such addresses hold secrets."
    )
    signing_secret: Annotated[Secret, AfterValidator(_signing_keys)] = Field(
        description="What changes are signed with (Standard Webhooks): whsec_...; the new one and the old one,"
        " separated by a comma, while it is being replaced.",
    )


class WebhookSourceConnection(WebhookConnection):
    """Of a system that posts records to Sorbus."""

    webhook_secret: Secret = Field(
        description="What records that are posted to Sorbus are signed with, or the secret in the address."
    )


def is_this_machine(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
