"""What the service needs of a map: what is missing is said, and what it should not have it need not have."""

from __future__ import annotations

from pathlib import Path

import pytest

from sorbus.cli.context import Context
from sorbus.errors import MapError
from sorbus.ops.runtime.programs import programs_of
from sorbus.producers.webhook.receivers import receivers_of
from tests.producers.webhook.company import write_map

STRIPE: dict[str, object] = {"api": "stripe", "token": "${KEY_THAT_IS_NOT_HERE}", "webhook_secret": "${HOOK}"}


def test_the_service_needs_the_signatures_secret_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "whsec_new, whsec_old")
    heard = receivers_of(write_map(tmp_path, STRIPE, resource="customers"))
    assert heard["crm"].secrets == ("whsec_new", "whsec_old")
    assert heard["crm"].resources == {"customers"}
    assert "whsec" not in repr(heard)


def test_sorbus_up_runs_the_service_where_a_system_has_webhooks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", "whsec_new")
    monkeypatch.setenv("KEY_THAT_IS_NOT_HERE", "rk_1")
    context = Context(write_map(tmp_path, STRIPE, resource="customers").file)
    assert [program.name for program in programs_of(context.load_sound())] == ["produce crm", "webhooks", "watch"]


def test_a_system_without_a_webhook_secret_is_not_heard(tmp_path: Path) -> None:
    assert receivers_of(write_map(tmp_path, {"api": "stripe", "token": "key"}, resource="customers")) == {}


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        (STRIPE, r"\$\{HOOK\} has no value"),
        ({**STRIPE, "webhook_secret": " , "}, "it is empty"),
        ({"api": "hubspot", "token": "t", "portal_id": "${PORTAL}", "webhook_secret": "s"}, "signs the address"),
        ({"api": "hubspot", "token": "t", "portal_id": "${PORTAL}", "webhook_secret": "s"}, r"\$\{PORTAL\} has no"),
        (
            {"api": "redmine", "base_url": "http://127.0.0.1:1", "api_key": "k", "webhook_secret": "s"},
            "without webhooks",
        ),
    ],
)
def test_what_is_missing_is_said_with_its_cure(tmp_path: Path, connection: dict[str, object], words: str) -> None:
    resource = {"stripe": "customers", "redmine": "projects"}.get(str(connection["api"]), "contacts")
    with pytest.raises(MapError, match=words) as found:
        receivers_of(write_map(tmp_path, connection, resource=resource))
    assert all(finding.line and finding.fix for finding in found.value.findings)
