"""Which systems of a map are heard, and with what secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from sorbus.bus.inbox import with_inbox
from sorbus.errors import Finding, MapError
from sorbus.http_api.connection import Application, application
from sorbus.http_api.description import JsonPath, Webhooks
from sorbus.map.loaded import LoadedMap
from sorbus.webhook.signatures import is_key

_UNSET = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True, slots=True)
class WebhookReceiver:
    """One system as the webhook service needs it.

    `resources`: those that the map reads, all others' events are of no use. `where`: the values that an event for us
    has. `url`: the address that the application was told.
    """

    system: str
    webhooks: Webhooks
    secrets: tuple[str, ...] = field(repr=False)
    resources: frozenset[str]
    where: Mapping[JsonPath, str] = field(default_factory=dict)
    url: str = ""


def receivers_of(loaded: LoadedMap) -> dict[str, WebhookReceiver]:
    """Every system whose webhooks are switched on, by name; MapError with all that is missing.

    Only what verifying needs has to have a value: no secret with which the systems' records could be read.
    """
    quiet = loaded.for_check()
    found: dict[str, WebhookReceiver] = {}
    findings: list[Finding] = []
    for system in with_inbox(loaded.map):
        if loaded.map.systems[system].kind != "http":
            continue
        made = application(quiet.system(system, "producer"))
        connector = quiet.producer(system)
        resources = {
            resource for source in quiet.sources(system) for resource in connector.resources_of(source.options).values()
        }
        try:
            found[system] = _hearing(quiet, made, frozenset(resources))
        except MapError as error:
            findings += error.findings
    if findings:
        raise MapError(sorted(findings))
    return found


def _hearing(loaded: LoadedMap, made: Application, resources: frozenset[str]) -> WebhookReceiver:
    def finding(key: str, message: str, fix: str) -> Finding:
        return loaded.finding(("systems", made.system, "connection", key), "webhooks", message, fix)

    webhooks = made.description.webhooks
    if webhooks is None:
        fix = "take webhook_secret out, or describe them under `webhooks:`"
        raise MapError([finding("webhook_secret", f"{made.description.title} is described without webhooks", fix)])
    secrets = tuple(
        secret for part in (made.connection.value("webhook_secret") or "").split(",") if (secret := part.strip())
    )
    where = {path: made.fill(value) for path, value in webhooks.event.where.items()}
    findings = [
        finding(key, f"${{{name}}} has no value", f"set the environment variable {name}, or {name}_FILE")
        for key, values in (
            ("webhook_secret", secrets),
            ("webhook_url", (made.connection.webhook_url,)),
            ("", where.values()),
        )
        for value in values
        for name in _UNSET.findall(value)
    ]
    if not secrets:
        findings.append(finding("webhook_secret", "it is empty", "write what the application signs its webhooks with"))
    elif webhooks.signature == "standard-webhooks" and not all(is_key(secret) for secret in secrets):
        findings.append(finding("webhook_secret", "it is not base64", "copy it whole, as it is shown: whsec_..."))
    in_path = webhooks.signature == "shared-secret" and not (webhooks.header or webhooks.parameter)
    if in_path and any(quote(secret, safe="") != secret for secret in secrets if not _UNSET.search(secret)):
        fix = "make one of letters, digits, - and _: it is a part of the address"
        findings.append(finding("webhook_secret", "it has characters that an address can't hold", fix))
    if webhooks.signature == "hubspot-v3" and not made.connection.webhook_url:
        fix = "write webhook_url: https://…, as it stands in the application's settings"
        findings.append(finding("", f"{made.description.title} signs the address that it posts to", fix))
    if findings:
        raise MapError(findings)
    return WebhookReceiver(made.system, webhooks, secrets, resources, where, made.connection.webhook_url)
