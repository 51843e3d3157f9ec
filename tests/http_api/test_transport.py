"""The way to an application, against real servers on loopback."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from decimal import Decimal

import pytest
from prometheus_client import REGISTRY

from sorbus.errors import AuthError, PermanentError, TransientError, Unfinished
from sorbus.http_api import transport as transport_module
from sorbus.http_api.interface import Call
from sorbus.http_api.limits.breaker import FAULTS
from sorbus.http_api.records import open_api
from sorbus.http_api.transport import HttpTransport
from sorbus.state import State
from tests.http_api.applications import Asked, Reply, answering, application, as_json
from tests.http_api.faulty import Faulty
from tests.http_api.faulty_http import Fault

Open = Callable[..., HttpTransport]


@pytest.fixture
def open_to(state: State) -> Iterator[Open]:
    """Makes a transport to a base URL; closed after the test."""
    with ExitStack() as stack:

        def make(base_url: str, patience: float = 5.0, *, each_waits: bool = False, **more: object) -> HttpTransport:
            about = application(base_url, **{"api_key": "the-key", **more})  # type: ignore[arg-type]
            made = HttpTransport(about, state, patience=patience, each_waits=each_waits)
            stack.callback(made.close)
            return made

        yield make


@pytest.mark.parametrize("fault", ["500", "503", "HTML", "cut"])
def test_a_broken_list_opens_no_circuit_for_the_others_of_its_producer(open_to: Open, fault: str) -> None:
    """Polled once in five minutes, the others succeed too seldom to set its faults back."""
    answers: dict[str, Reply] = {
        "500": as_json(500, {}),
        "503": as_json(503, {}),
        "HTML": (200, {"Content-Type": "text/html"}, b"<html>"),
        "cut": (200, {"Content-Length": "9", "Connection": "close"}, b"{"),
    }
    bad: set[str] = {"/broken"}

    def answer(asked: Asked) -> Reply:
        return answers[fault] if asked.path in bad else as_json(200, {})

    def ask(way: HttpTransport, path: str) -> None:
        with suppress(TransientError):
            way.send(Call("GET", path, endpoint=path), doing="listing")

    with answering(answer) as (url, seen):
        way = open_to(url, each_waits=True)
        ask(way, "/well")
        for _ in range(8):
            ask(way, "/broken")
        ask(way, "/well")
        assert [one.path for one in seen].count("/well") == 2, "the circuit is open for the list that is well"
        assert [one.path for one in seen].count("/broken") == 8
        bad.add("/well")  # and when nothing answers any more, it does open
        for _ in range(8):
            ask(way, "/well")
            ask(way, "/broken")
        assert len(seen) == 10 + FAULTS


def test_an_application_that_is_not_there_opens_the_circuit_whoever_answered_before(open_to: Open) -> None:
    with answering(lambda asked: as_json(200, {}, Connection="close")) as (url, _):
        way = open_to(url, each_waits=True)
        way.send(Call("GET", "/contacts/7", endpoint="one"), doing="reading")
    said = []
    for _ in range(FAULTS + 1):
        with pytest.raises(TransientError) as caught:
            way.send(Call("GET", "/contacts", endpoint="all"), doing="listing")
        said.append(str(caught.value))
    assert "has failed too often" in said[-1], said


def count(method: str, status: str) -> float:
    return (
        REGISTRY.get_sample_value("sorbus_api_requests_total", {"system": "crm", "method": method, "status": status})
        or 0
    )


def test_a_limit_for_some_paths_holds_for_those_alone(open_to: Open) -> None:
    limits = [{"requests": 2, "per": "1h", "only": ["/search"]}]
    with answering(lambda asked: as_json(200, {})) as (url, seen):
        way = open_to(url, patience=0.0, limits=limits)
        for path in ("/search?q=1", "/search", *["/contacts"] * 5):
            way.send(Call("GET", path), doing="reading")
        with pytest.raises(Unfinished):
            way.send(Call("GET", "/search/more"), doing="reading")
    assert len(seen) == 7


def test_an_answer_comes_back_with_its_numbers_exact_and_is_counted(open_to: Open) -> None:
    before = count("GET", "2xx")
    with answering(lambda asked: (200, {"X-Left": "7"}, b'{"amount": 0.10}')) as (url, seen):
        answer = open_to(url).send(Call("GET", "/contacts", {"q": "a&b=c"}), doing="reading")
    assert answer.body == {"amount": Decimal("0.10")}
    assert answer.headers["x-left"] == "7"
    assert seen[0].path == "/contacts?q=a%26b%3Dc"
    assert seen[0].headers["X-Api-Key"] == "the-key"
    assert seen[0].headers["User-Agent"].startswith("Sorbus/")
    assert count("GET", "2xx") == before + 1


def test_bodies_go_as_json_or_as_a_form(open_to: Open) -> None:
    with answering(lambda asked: (204, {}, b"")) as (url, seen):
        opened = open_to(url)
        opened.send(Call("POST", "/a", json={"name": "Zoë", "n": Decimal("1.50")}), doing="x")
        opened.send(Call("POST", "/b", form={"address[city]": "Zürich & more"}), doing="x")
    assert seen[0].body == '{"name":"Zoë","n":1.50}'.encode()
    assert seen[0].headers["Content-Type"] == "application/json"
    assert seen[1].body == b"address%5Bcity%5D=Z%C3%BCrich+%26+more"
    assert seen[1].headers["Content-Type"] == "application/x-www-form-urlencoded"


def test_a_redirect_stays_within_the_origin(open_to: Open) -> None:
    with answering(lambda asked: as_json(200, {"secret": 1})) as (stranger, seen_there):

        def answer(asked: Asked) -> Reply:
            if asked.path == "/old":
                return 302, {"Location": "/new"}, b""
            if asked.path == "/moved":
                return 308, {"Location": "/new"}, b""
            return as_json(200, {"at": asked.path}) if asked.path == "/new" else (302, {"Location": stranger}, b"")

        with answering(answer) as (url, seen):
            opened = open_to(url)
            assert opened.send(Call("GET", "/old"), doing="x").body == {"at": "/new"}
            with pytest.raises(PermanentError, match="another origin") as caught:
                opened.send(Call("GET", "/away"), doing="x")
            with pytest.raises(PermanentError, match="another origin"):
                opened.send(Call("GET", f"{stranger}/contacts"), doing="x")
            opened.send(Call("POST", "/moved", json={"a": 1}), doing="x")
            assert (seen[-1].method, seen[-1].path, seen[-1].body) == ("POST", "/new", b'{"a":1}')
            with pytest.raises(PermanentError, match="answers 302"):
                opened.send(Call("POST", "/old", json={}), doing="x")
    assert caught.value.reason == "origin"
    assert seen_there == []


def test_an_answer_over_the_limit_is_refused_before_it_fills_memory(
    open_to: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_module, "LARGEST_ANSWER", 1024 * 1024)
    with (
        answering(lambda asked: (200, {}, b" " * (1024 * 1024 + 1))) as (url, _),
        pytest.raises(PermanentError, match="larger than 1 MB") as caught,
    ):
        open_to(url).send(Call("GET", "/"), doing="x")
    assert caught.value.reason == "too large"


@pytest.mark.parametrize("fault", ["429", "502", "timeout-after", "reset-after", "cut"])
def test_what_may_pass_is_transient(fault: str, faulty: Faulty, open_to: Open) -> None:
    faulty.script("GET", "/contacts", fault)
    opened = open_to(faulty.base_url, description={"timeout": 0.3})
    with pytest.raises(TransientError, match="listing"):
        opened.send(Call("GET", "/contacts"), doing="listing")
    assert opened.send(Call("GET", "/contacts"), doing="listing").status == 200


def test_nobody_there_is_transient(open_to: Open) -> None:
    with answering(lambda asked: (200, {}, b"")) as (url, _):
        pass
    with pytest.raises(TransientError, match="can't be reached"):
        open_to(url).send(Call("GET", "/"), doing="x")


def test_a_web_page_in_place_of_json_is_no_answer(open_to: Open) -> None:
    page = (200, {"Content-Type": "text/html"}, b"<html>Back soon</html>")
    with answering(lambda asked: page) as (url, _), pytest.raises(TransientError, match="text/html that isn't JSON"):
        open_to(url).send(Call("GET", "/"), doing="x")


def test_a_wrong_key_needs_a_person_and_is_never_shown(
    faulty: Faulty, open_to: Open, caplog: pytest.LogCaptureFixture
) -> None:
    faulty.auth = "key"
    opened = open_to(faulty.base_url, api_key="wrong-and-secret")
    with caplog.at_level(logging.WARNING), pytest.raises(AuthError, match="credentials of crm") as caught:
        opened.send(Call("GET", "/contacts"), doing="listing")
    assert "wrong-and-secret" not in str(caught.value) + caplog.text + repr(opened.application)


def test_a_key_in_the_query_goes_with_the_calls_own_parameters(open_to: Open) -> None:
    auth = {"kind": "api-key", "parameter": "key"}
    with answering(lambda asked: (204, {}, b"")) as (url, seen):
        open_to(url, description={"auth": auth}).send(Call("GET", "/a?x=1", {"y": "2"}), doing="x")
    assert seen[0].path == "/a?x=1&y=2&key=the-key"


def test_the_rate_limit_is_waited_for_and_then_put_off(faulty: Faulty, open_to: Open) -> None:
    limits = [{"requests": 2, "per": "1h"}]
    opened = open_to(faulty.base_url, patience=0.2, description={"limits": limits})
    opened.send(Call("GET", "/contacts"), doing="x")
    opened.send(Call("GET", "/contacts"), doing="x")
    with pytest.raises(Unfinished, match="rate limit of crm") as caught:
        opened.send(Call("GET", "/contacts"), doing="x")
    assert caught.value.retry_after > 1
    assert faulty.count("GET") == 2


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("500", "crm answered 500"),
        ("503", "crm answered 503"),
        ("reset", "no answer from crm"),
        ("html", "crm answers 200 with text/html that isn't JSON"),
        (None, "crm can't be reached: Connection refused"),
    ],
)
def test_a_system_that_is_down_is_left_alone_and_said_to_be_down_for_its_last_fault(
    fault: Fault | None, why: str, faulty: Faulty, open_to: Open
) -> None:
    faulty.faults = {fault: 1.0} if fault else {}
    opened = open_to(faulty.base_url if fault else "http://127.0.0.1:1")
    for _ in range(50):
        with pytest.raises(TransientError) as caught:
            opened.send(Call("GET", "/contacts"), doing="x")
        if "left alone" in str(caught.value):
            break
    assert re.search(f"x: crm has failed too often, so requests are paused; last error: {why}", str(caught.value))
    assert caught.value.retry_after


def test_threads_share_a_transport(faulty: Faulty, open_to: Open) -> None:
    for number in range(20):
        faulty.add(name=f"Contact {number}")
    opened = open_to(faulty.base_url)
    seen: list[object] = []

    def read(number: int) -> None:
        seen.append(opened.send(Call("GET", f"/contacts/{number}"), doing="x").body["contact"]["id"])

    threads = [threading.Thread(target=read, args=(number,)) for number in range(1, 21)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(map(int, map(str, seen))) == list(range(1, 21))


def test_an_etag_is_asked_for_as_it_is_stored(open_to: Open) -> None:
    """nginx makes it weak where it packs the answer, Apache adds -gzip: neither is ever matched by If-Match."""

    def answer(asked: Asked) -> Reply:
        packs = "gzip" in asked.headers.get("Accept-Encoding", "")
        if asked.method == "GET":
            return as_json(200, {"contact": {"id": 7, "name": "Ada"}}, ETag='"v1-gzip"' if packs else '"v1"')
        return as_json(200 if asked.headers.get("If-Match") == '"v1"' else 412, {"contact": {"id": 7}})

    with answering(answer) as (url, _seen):
        api = open_api(open_to(url))
        found = api.get("guarded", "7")
        assert found is not None
        api.update("guarded", "7", {"name": "Bob"}, current=found)
