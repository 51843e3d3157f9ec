"""The hook for Tryton, against a real Tryton."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from sorbus.errors import AuthError, PermanentError, RateLimited, TransientError
from sorbus.http_api.auth import Signature
from sorbus.http_api.connection import Application, HttpConnection
from sorbus.http_api.interface import Record
from sorbus.http_api.load import load_description
from sorbus.http_api.systems.tryton import TrytonApi, _refuse
from sorbus.http_api.transport import HttpTransport
from sorbus.state import State
from tests.acceptance.real import tryton
from tests.acceptance.real_year.tryton import Tryton
from tests.http_api.applications import answering, as_json


def bound(base_url: str, password: str = "adminpw", username: str = "admin") -> Application:
    """The shipped description, with pages of two."""
    described = load_description("tryton")
    party = described.resources["party"]
    assert party.list is not None
    assert party.changes is not None
    small = party.list.pagination.model_copy(update={"size": 2})
    listed = party.list.model_copy(update={"pagination": small})
    changed = party.changes.model_copy(update={"pagination": small})
    resources = {**described.resources, "party": party.model_copy(update={"list": listed, "changes": changed})}
    described = described.model_copy(update={"resources": resources})
    connection = HttpConnection.model_validate({"api": "tryton", "username": username, "password": password})
    return Application("erp", described, connection, {}, base_url, "", described.auth, ())


@pytest.fixture
def transport(state: State) -> Iterator[HttpTransport]:
    with tryton() as running:
        opened = HttpTransport(bound(f"{running.url}/erp"), state)
        yield opened
        opened.close()


@pytest.mark.real
def test_parties_are_made_read_changed_found_and_gone(transport: HttpTransport, state: State) -> None:
    api = TrytonApi(transport)
    name, mail = f"Zoë {uuid.uuid4().hex}", f"{uuid.uuid4().hex}@example.test"
    began = datetime.now(UTC)
    made = api.create(
        "party",
        {"name": name, "email": mail, "phone": "+44 20 7946 0000", "addresses": [{"street": "1 Way", "city": "Bern"}]},
        key="",
    )
    id = str(made["id"])
    current = api.get("party", id)
    assert current is not None
    record = current.record
    assert (record["name"], record["email"], record["phone"]) == (name, mail, "+44 20 7946 0000")
    assert (record["addresses"][0]["street"], record["addresses"][0]["city"]) == ("1 Way", "Bern")
    assert record["write_date"] == record["create_date"]
    assert [found["id"] for found in api.search("party", "email", mail) or ()] == [made["id"]]

    address = {**record["addresses"][0], "city": "Basel"}
    api.update(
        "party", id, {"email": f"new-{mail}", "phone": None, "mobile": "+1", "addresses": [address]}, current=current
    )
    current = api.get("party", id)
    assert current is not None
    changed = current.record
    assert (changed["email"], changed["phone"], changed["mobile"]) == (f"new-{mail}", None, "+1")
    assert (changed["addresses"][0]["street"], changed["addresses"][0]["city"]) == ("1 Way", "Basel")
    assert changed["write_date"] > record["write_date"]

    others = {api.create("party", {"name": f"{name} {number}"}, key="")["id"] for number in range(5)}
    assert others | {made["id"]} == set(every(api, began))
    assert others | {made["id"]} <= set(every(api, None))

    with pytest.raises(PermanentError, match="must be unique") as caught:
        api.create("party", {"name": "double", "code": changed["code"]}, key="")
    assert (caught.value.reason, caught.value.words) == ("duplicate", "The code on party must be unique.")
    with pytest.raises(PermanentError) as caught:
        api.update("party", "99999999", {"name": "nobody"}, current=None)
    assert caught.value.reason == "gone"

    transport.log_in_by(expiring(api))
    assert api.get("party", id) is not None, "an expired session is followed by a new login"
    api.delete("party", id)
    assert api.get("party", id) is None
    assert made["id"] in every(api, began), "an inactive party shows among the changes"

    refused = HttpTransport(bound(transport.base_url, password="wrong"), state)
    with pytest.raises(AuthError, match="logging in to erp"):
        TrytonApi(refused).get("party", id)
    refused.close()


@pytest.mark.real
def test_a_price_is_written_and_read_in_the_users_company(state: State) -> None:
    with tryton() as running:
        people = Tryton(running)
        password = people.prepare()
        opened = HttpTransport(bound(people.url, password, "sorbus"), state)
        api = TrytonApi(opened)
        kind: Record = {"type": "goods", "default_uom": 1, "cost_price_method": "fixed"}
        made = api.create("product", {"code": "GA-1", "name": "Gauge", "list_price": "19.99", **kind}, key="")
        assert people.products() == {"GA-1": ("Gauge", "19.99")}
        api.update("product", str(made["id"]), {"list_price": "20.5"}, current=None)
        assert people.products() == {"GA-1": ("Gauge", "20.5")}
        current = api.get("product", str(made["id"]))
        assert current is not None
        assert current.record["list_price"] == Decimal("20.5")
        opened.close()


def every(api: TrytonApi, since: datetime | None) -> list[int]:
    page = api.page("party", since=since)
    ids = [record["id"] for record in page.records]
    while page.after is not None:
        page = api.page("party", since=since, after=page.after)
        ids += [record["id"] for record in page.records]
    assert len(ids) == len(set(ids))
    return ids


def expiring(api: TrytonApi) -> Callable[[], Signature]:
    """A login whose first session is no good."""
    sessions = iter([Signature({"Authorization": "Session YWRtaW46MTpiYWQ="})])
    return lambda: next(sessions, None) or api._log_in()


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (["UserError", ["No.", "It can't be.", None]], PermanentError, "No. It can't be."),
        (["UserWarning", ["name_1", "Sure?", "Really"]], PermanentError, "Sure? Really (confirm it in Tryton)"),
        (["ConcurrencyException", "changed"], TransientError, None),
        (["database is locked", "trace"], TransientError, None),
        (["LoginException", ["x"]], AuthError, None),
        (["'nam'", "trace"], PermanentError, "'nam'"),
    ],
)
def test_trytons_exceptions_mean_what_a_caller_does_next(
    error: object, kind: type[Exception], words: str | None
) -> None:
    with pytest.raises(kind) as caught:
        _refuse(error, "doing it")
    assert getattr(caught.value, "words", None) == words


def test_an_address_that_is_not_tryton_says_how_it_is_written(state: State) -> None:
    with answering(lambda asked: as_json(200, {"result": [1, "key"]} if b"login" in asked.body else {})) as (url, _):
        transport = HttpTransport(bound(url), state)
        with pytest.raises(TransientError, match="HOST:PORT/DATABASE"):
            TrytonApi(transport).get("party", "1")
        transport.close()


def test_a_locked_account_is_left_alone_by_all_processes(state: State) -> None:
    """Tryton counts each attempt, refused ones too: retries at the usual pace would keep it locked for ever."""
    with answering(lambda _: as_json(429, {"error": "Too Many Requests"})) as (url, asked):
        flows = [HttpTransport(bound(url), state, flow=name, patience=0.1) for name in ("party", "product")]
        with pytest.raises(TransientError, match="answers 429"):
            TrytonApi(flows[0]).get("party", "1")
        for transport in (*flows, *flows):
            with pytest.raises(RateLimited) as caught:
                TrytonApi(transport).get("party", "1")
            assert 300 < (caught.value.retry_after or 0) <= 330
        assert len(asked) == 1, "only the first attempt was sent"
        for transport in flows:
            transport.close()


@pytest.mark.parametrize("is_ours", [False, True])
def test_a_value_of_trytons_own_that_it_gave_twice_is_no_fault_of_the_record(state: State, *, is_ours: bool) -> None:
    """Its sequences do so to two parties that are made at the same time."""
    refusal = {"error": ["UserError", ["The code on party must be unique.", ""]]}
    with answering(lambda asked: as_json(200, {"result": [1, "k"]} if b"login" in asked.body else refusal)) as (url, _):
        transport = HttpTransport(bound(url), state)
        with pytest.raises(PermanentError if is_ours else TransientError, match="unique" if is_ours else "same code"):
            TrytonApi(transport).create("party", {"name": "A", **({"code": "7"} if is_ours else {})}, key="")
        transport.close()
