"""The faulty application does what it is told: the proofs that use it rest on this."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from ruamel.yaml import YAML

from sorbus.http_api.description import Description
from sorbus.tls import trusted_certificates
from tests.http_api.faulty import DESCRIPTION, Faulty
from tests.http_api.faulty_http import Fault

TIMEOUT = 0.3


@pytest.fixture
def client(faulty: Faulty) -> httpx.Client:
    return httpx.Client(base_url=faulty.base_url, timeout=TIMEOUT, verify=trusted_certificates())


def create(client: httpx.Client, name: str, key: str = "") -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return client.post("/contacts", json={"contact": {"name": name}}, headers=headers)


def test_its_description_is_valid(faulty: Faulty, tmp_path: Path) -> None:
    for file in (DESCRIPTION, tmp_path / faulty.describe(tmp_path, timeout=0.5)):
        found = Description.model_validate(YAML(typ="safe").load(file))
    assert found.timeout == timedelta(seconds=0.5)


def test_every_way_of_listing_gives_every_contact(faulty: Faulty, client: httpx.Client) -> None:
    faulty.add_many({"name": f"n{number}"} for number in range(25))
    names = {f"n{number}" for number in range(25)}
    assert {
        one["name"] for p in (1, 2, 3) for one in client.get(f"/contacts?limit=10&page={p}").json()["contacts"]
    } == names
    found = [client.get("/contacts/by-offset", params={"limit": 10, "offset": at}).json() for at in (0, 10, 20)]
    assert {one["name"] for page in found for one in page["contacts"]} == names
    seen: set[str] = set()
    url: str | None = "/contacts/by-link?limit=10"
    while url:
        answer = client.get(url)
        seen |= {one["name"] for one in answer.json()["contacts"]}
        url = answer.links.get("next", {}).get("url")
    assert seen == names


@pytest.mark.parametrize(
    ("fault", "written"), [("timeout-before", 0), ("timeout-after", 1), ("reset", 0), ("reset-after", 1), ("cut", 1)]
)
def test_what_got_lost_on_the_way_was_done_or_not_as_ordered(
    faulty: Faulty, client: httpx.Client, fault: Fault, written: int
) -> None:
    faulty.script("POST", "/contacts", fault)
    with pytest.raises(httpx.TransportError):
        create(client, "one")
    assert len(faulty.writes) == written
    assert create(client, "two").status_code == 201


def test_faults_by_share_come_about_as_often_as_ordered(faulty: Faulty, client: httpx.Client) -> None:
    faulty.faults = {"500": 0.2, "429": 0.1}
    statuses = [client.get("/contacts").status_code for _ in range(300)]
    assert 40 <= statuses.count(500) <= 80
    assert 15 <= statuses.count(429) <= 45
    assert faulty.too_many == 0


def test_limits_are_enforced_over_sliding_windows(faulty: Faulty, client: httpx.Client) -> None:
    faulty.limits = [(5, 60.0)]
    answers = [client.get("/contacts") for _ in range(7)]
    assert [one.status_code for one in answers] == [200] * 5 + [429] * 2
    assert int(answers[-1].headers["retry-after"]) == 60
    assert faulty.too_many == 2


def test_an_idempotency_key_is_honoured_or_not_as_ordered(faulty: Faulty, client: httpx.Client) -> None:
    assert create(client, "one", "k").json() == create(client, "one", "k").json()
    faulty.idempotent = False
    assert create(client, "one", "k").json()["contact"]["id"] == 2
    assert faulty.doubles("name") == {"one": 2}


def test_a_used_refresh_token_is_refused(faulty: Faulty, client: httpx.Client) -> None:
    faulty.auth, first = "oauth2", faulty.tokens.refresh_token

    def refresh(token: str) -> httpx.Response:
        form = {"grant_type": "refresh_token", "refresh_token": token}
        return client.post("/oauth/token", data=form, auth=(faulty.tokens.client_id, faulty.tokens.client_secret))

    token = refresh(first).json()
    bearer = {"Authorization": f"Bearer {token['access_token']}"}
    assert client.get("/contacts", headers=bearer).status_code == 200
    assert refresh(first).json()["error"] == "invalid_grant"
    assert refresh(token["refresh_token"]).status_code == 200
    faulty.tokens.expire()
    assert client.get("/contacts", headers=bearer).status_code == 401
    assert faulty.tokens.reused == 1


def test_a_search_settles_late_when_ordered(faulty: Faulty, client: httpx.Client) -> None:
    faulty.settle = 3600
    faulty.add(name="Ada", email="ada@example.test")

    def found() -> int:
        answer = client.get("/contacts/search", params={"field": "email", "value": "ADA@example.test"})
        return len(answer.json()["contacts"])

    assert found() == 0
    faulty.settle = 0
    assert found() == 1


def test_a_wrong_record_is_refused_with_the_field(faulty: Faulty, client: httpx.Client) -> None:
    answer = client.post("/contacts", json={"contact": {"name": "a", "email": "b"}})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "email")
    faulty.records.unique = "name"
    assert (create(client, "a").status_code, create(client, "A").status_code) == (201, 409)
