"""A map's connection and a description together: what is missing between them is a finding with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sorbus.connector import BoundSystem
from sorbus.errors import MapError
from sorbus.http_api.connection import Application, HttpConnection, application
from sorbus.map.load import load_map
from sorbus.mapfile.document import read_document
from sorbus.mapfile.model import System

HUBSPOT = {"api": "hubspot", "token": "t-secret"}
XERO = {"api": "xero", "tenant_id": "t-1", "client_id": "me", "client_secret": "s-secret"}
ZENDESK = {"api": "zendesk", "subdomain": "ours", "username": "a@ours.test/token", "password": "p-secret"}


def bound(given: dict[str, object], folder: Path = Path()) -> BoundSystem:
    (folder / "map.yaml").write_text("systems:\n  app:\n    kind: http\n    connection:\n      api: x\n", "utf-8")
    connection = HttpConnection.model_validate(given)
    document = read_document(folder / "map.yaml")
    return BoundSystem("app", System(kind="http"), connection, "", folder, document)


def made(given: dict[str, object], folder: Path) -> Application:
    return application(bound(given, folder))


def refused(given: dict[str, object], folder: Path) -> str:
    with pytest.raises(MapError) as caught:
        made(given, folder)
    assert all(found.file == folder / "map.yaml" for found in caught.value.findings)
    assert all(found.line == 5 or found.line == 4 for found in caught.value.findings)
    return str(caught.value)


def test_the_way_in_is_the_one_that_the_connection_has_credentials_for(tmp_path: Path) -> None:
    assert made(HUBSPOT, tmp_path).auth.kind == "bearer"
    app = {"api": "hubspot", "client_id": "me", "client_secret": "s"}
    found = made(app, tmp_path)
    assert (found.auth.kind, found.grant, found.token_url) == (
        "oauth2",
        "refresh_token",
        "https://api.hubapi.com/oauth/v1/token",
    )
    assert made({**XERO, "grant": "client_credentials"}, tmp_path).grant == "client_credentials"


def test_settings_fill_the_address(tmp_path: Path) -> None:
    found = made(ZENDESK, tmp_path)
    assert found.base_url == "https://ours.zendesk.com"
    assert found.fill("{subdomain} {id}") == "ours {id}"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"api": "hubspott"}, "did you mean hubspot?"),
        ({"api": "hubspot"}, "needs token"),
        ({**XERO, "tenant_id": ""}, "tenant_id"),
        ({**XERO, "client_secret": ""}, "needs client_secret"),
        ({**ZENDESK, "subdomain": "https://ours.zendesk.com"}, "the value of subdomain is invalid"),
        ({**ZENDESK, "subdomian": "ours"}, "did you mean subdomain?"),
        ({**HUBSPOT, "grant": "client_credentials", "token": None, "client_id": "a", "client_secret": "b"}, "no grant"),
        ({"api": "redmine", "api_key": "k"}, "write base_url"),
        ({"api": "redmine", "api_key": "k", "base_url": "projects.ours.test"}, "not a valid web address"),
        ({"api": "redmine", "api_key": "k", "base_url": "http://projects.ours.test"}, "unencrypted"),
        ({"api": "redmine", "api_key": "k", "base_url": "https://me:pw@ours.test"}, "contains credentials"),
        ({"api": "redmine", "api_key": "k", "base_url": "https://ours.test/?a=b"}, "more than host and path"),
        ({**XERO, "token_url": "http://elsewhere.test/token"}, "token_url would send"),
    ],
)
def test_what_is_missing_or_unsafe_is_said(tmp_path: Path, given: dict[str, object], says: str) -> None:
    assert says in refused(given, tmp_path)


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:3000", "http://localhost/r", "http://[::1]:1", "${URL}"])
def test_plain_http_stays_on_this_machine(tmp_path: Path, base_url: str) -> None:
    assert made({"api": "redmine", "api_key": "k", "base_url": base_url}, tmp_path).base_url == base_url
    open_way = {"api": "redmine", "api_key": "k", "base_url": "http://ours.test", "allow_http": True}
    assert made(open_way, tmp_path).base_url == "http://ours.test"


def test_no_secret_is_ever_shown(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "api: own\ntitle: Own\nbase_url: https://own.test\nsettings: {pin: {doc: a pin, secret: true}}\n"
        "resources: {a: {get: {path: '/a/{id}'}}}\n",
        "utf-8",
    )
    for given in (HUBSPOT, XERO, ZENDESK, {"api": "own.yaml", "pin": "p-secret"}):
        found = made(given, tmp_path)
        assert "secret'" not in repr(found).replace("webhook_secret", "")
        assert "-secret" not in repr(found) + str(found.connection)


def test_a_description_of_ones_own_is_a_part_of_the_map(tmp_path: Path) -> None:
    (tmp_path / "apis").mkdir()
    own = tmp_path / "apis" / "own.yaml"
    own.write_text("extends: hubspot\n", "utf-8")
    (tmp_path / "map.yaml").write_text(
        "systems:\n  app: {kind: http, connection: {api: apis/own.yaml, token: '${T}'}}\ndata_types: {}\n", "utf-8"
    )
    before = load_map(tmp_path / "map.yaml").digest
    own.write_text("extends: hubspot\ntitle: Ours\n", "utf-8")
    assert load_map(tmp_path / "map.yaml").digest != before
