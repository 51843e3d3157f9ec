"""Alertmanager's configuration from a map: every owner gets the alerts about their systems, operators get all.

The shipped ops/alertmanager/alertmanager.yml is the base: its waits, and which alerts make others needless. Secrets
stay in files that Alertmanager reads itself. https://prometheus.io/docs/alerting/0.25/configuration/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import cast

from pydantic import JsonValue
from ruamel.yaml import YAML

from sorbus.map.contact import Contact, called_for, owner_of
from sorbus.map.contact import contact as contact_of
from sorbus.mapfile.model import Map

Table = dict[str, JsonValue]
NOW, TODAY = "now", "today"
_URGENT = 'severity=~"critical|warning"'
"""Alerts that owners get at once; the rest is in their digest."""


@dataclass(frozen=True, slots=True)
class Ways:
    """How people are reached; what is empty isn't used. Passwords and tokens only as the paths of files."""

    mail_server: str = ""
    mail_from: str = ""
    mail_user: str = ""
    mail_password_file: str = ""
    mail_tls: bool = True
    to: Sequence[str] = ()
    slack_url_file: str = ""
    slack_channel: str = ""
    webhooks: Sequence[str] = ()
    webhook_token_file: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """What one address is told of, each a list of Alertmanager's matchers."""

    contact: Contact
    matchers: tuple[tuple[str, ...], ...]


def shares(company: Map) -> Iterator[Share]:
    """What everybody with an address in the map is told of, in the map's order."""
    found: dict[str, tuple[Contact, list[tuple[str, ...]]]] = {}

    def tell(contact: Contact | None, *matchers: str) -> None:
        if contact is not None and contact.address is not None:
            found.setdefault(contact.address, (contact, []))[1].append(matchers)

    for system in company.systems:
        owner, other = owner_of(company, system), 'alertname!="SorbusEscalated"'
        flows = [flow.id for flow in company.flows if flow.to == system and flow.none is None]
        tell(owner, f'system="{system}"', _URGENT)
        if flows:
            tell(owner, f'flow=~"{"|".join(flows)}"', _URGENT, other)
        if owned := company.owned_by(system):
            tell(owner, f'data_type=~"{"|".join(owned)}"', 'flow=""', 'system=""', _URGENT)
    calls: dict[Contact | None, list[str]] = {}
    for flow in company.flows:
        if flow.runs:
            calls.setdefault(called_for(company, flow), []).append(flow.id)
        if flow.manual is not None:
            responsible = contact_of(flow.manual.responsible)
            tell(responsible, 'alertname="SorbusChecklistOverdue"', f'flow="{flow.id}"')
    for contact, ids in calls.items():
        tell(contact, 'alertname="SorbusEscalated"', f'flow=~"{"|".join(ids)}"')
    for addressed, matchers in found.values():
        yield Share(addressed, tuple(dict.fromkeys(matchers)))


def unreachable(company: Map) -> list[str]:
    """The people in the map without an address: they get no mail."""
    contacts = [owner_of(company, system) for system in company.systems]
    contacts += [called_for(company, flow) for flow in company.flows if flow.runs]
    contacts += [contact_of(flow.manual.responsible) for flow in company.flows if flow.manual]
    return list(dict.fromkeys(each.name for each in contacts if each is not None and each.address is None))


def configuration(company: Map, ways: Ways) -> Table:
    """Everything that alertmanager.yml holds."""
    base = cast("Table", YAML(typ="safe").load(shipped("alertmanager.yml")))
    route = cast("Table", base["route"])
    urgent = cast("list[JsonValue]", route["routes"])
    receivers: list[JsonValue] = []
    routes: list[JsonValue] = []
    if ways.mail_server:
        base["global"] = _mail(ways)
        for share in shares(company):
            name = f"mail to {share.contact.address}"
            receivers.append({"name": name, "email_configs": [_email(share.contact.address or "")]})
            routes += [{"receiver": name, "matchers": list(each), "continue": True} for each in share.matchers]
    everything = _everything(ways)
    route["routes"] = [*routes, *urgent, {"receiver": TODAY}]
    base["receivers"] = [*receivers, *({"name": name, **everything} for name in (NOW, TODAY))]
    return base


def shipped(name: str) -> str:
    """One of the files in ops/alertmanager."""
    return (files("sorbus.ops") / "alertmanager" / name).read_text("utf-8")


def _mail(ways: Ways) -> Table:
    made: Table = {
        "smtp_smarthost": ways.mail_server,
        "smtp_from": ways.mail_from,
        "smtp_require_tls": ways.mail_tls,
    }
    if ways.mail_user:
        made |= {"smtp_auth_username": ways.mail_user, "smtp_auth_password_file": ways.mail_password_file}
    return made


def _email(address: str) -> JsonValue:
    return {
        "to": address,
        "send_resolved": True,
        "headers": {"Subject": '{{ template "sorbus.subject" . }}'},
        "text": '{{ template "sorbus.text" . }}',
        "html": '{{ template "sorbus.html" . }}',
    }


def _everything(ways: Ways) -> Table:
    """The receivers of those who run Sorbus."""
    made: Table = {}
    if ways.to and ways.mail_server:
        made["email_configs"] = [_email(address) for address in ways.to]
    if ways.slack_url_file:
        made["slack_configs"] = [
            {
                "api_url_file": ways.slack_url_file,
                **({"channel": ways.slack_channel} if ways.slack_channel else {}),
                "send_resolved": True,
                "title": '{{ template "sorbus.subject" . }}',
                "title_link": "{{ (index .Alerts 0).Annotations.console }}",
                "text": '{{ template "sorbus.slack" . }}',
                "fallback": '{{ template "sorbus.subject" . }}',
            }
        ]
    if ways.webhooks:
        token: Table = (
            {"http_config": {"authorization": {"credentials_file": ways.webhook_token_file}}}
            if ways.webhook_token_file
            else {}
        )
        made["webhook_configs"] = [{"url": url, "send_resolved": True, **token} for url in ways.webhooks]
    return made
