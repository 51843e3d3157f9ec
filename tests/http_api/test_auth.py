"""Credentials, and OAuth2 tokens above all: real token endpoints, real processes."""

from __future__ import annotations

import base64
import json
import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from sorbus.errors import AuthError, TransientError
from sorbus.http_api.auth import credentials, tokens
from sorbus.http_api.auth.endpoint import TokenEndpoint
from sorbus.http_api.auth.tokens import Tokens, TokenStore
from sorbus.http_api.interface import Call
from sorbus.http_api.records import open_api
from sorbus.http_api.transport import HttpTransport
from sorbus.state import State
from tests.http_api.applications import OAUTH2, answering, application, as_json
from tests.http_api.faulty import Faulty

ROOT = Path(__file__).parent.parent.parent
LIST = Call("GET", "/contacts")
Open = Callable[..., HttpTransport]


def connection(faulty: Faulty, **more: object) -> dict[str, object]:
    tokens = faulty.tokens
    given = {
        "client_id": tokens.client_id,
        "client_secret": tokens.client_secret,
        "refresh_token": tokens.refresh_token,
    }
    return {**given, **more}


@pytest.fixture
def open_as(state: State, faulty: Faulty) -> Iterator[Open]:
    """Makes a transport with OAuth2 to the faulty application."""
    faulty.auth = "oauth2"
    with ExitStack() as stack:

        def make(base_url: str = "", auth: dict[str, object] | None = None, **given: object) -> HttpTransport:
            bound = application(base_url or faulty.base_url, {"auth": {**OAUTH2, **(auth or {})}}, **given)
            made = HttpTransport(bound, state)
            stack.callback(made.close)
            return made

        yield make


@pytest.mark.parametrize(
    ("auth", "given", "header", "value"),
    [
        ({"kind": "none"}, {}, "Authorization", None),
        ({"kind": "api-key", "header": "X-K", "prefix": "Key "}, {"api_key": "k"}, "X-K", "Key k"),
        ({"kind": "basic"}, {"username": "ü", "password": "p:w"}, "Authorization", "Basic w7w6cDp3"),
        ({"kind": "basic", "key_as": "username"}, {"api_key": "k"}, "Authorization", "Basic azp4"),
        ({"kind": "basic", "key_as": "password"}, {"api_key": "k"}, "Authorization", "Basic a2V5Oms="),
        ({"kind": "bearer"}, {"token": "t"}, "Authorization", "Bearer t"),
        ({"kind": "bearer", "scheme": "Zoho-oauthtoken"}, {"token": "t"}, "Authorization", "Zoho-oauthtoken t"),
    ],
)
def test_fixed_credentials(
    auth: object, given: dict[str, object], header: str, value: str | None, state: State
) -> None:
    made = credentials(application("http://127.0.0.1:1", {"auth": auth}, **given), state)
    assert made.signature().headers.get(header) == value
    assert not made.refresh_after_401(made.signature())


def test_a_missing_credential_says_which_and_where() -> None:
    with pytest.raises(AuthError, match="crm needs token: write it into its connection in the map"):
        credentials(application("http://127.0.0.1:1", {"auth": {"kind": "bearer"}}), State("dbname=x"))


def test_a_line_end_in_a_secret_never_becomes_a_header() -> None:
    bound = application("http://127.0.0.1:1", {"auth": {"kind": "bearer"}}, token="a\r\nX: y")
    with pytest.raises(AuthError, match="control character"):
        credentials(bound, State("dbname=x"))


def test_a_rotated_token_is_used_by_the_next_process_and_the_seed_no_more(faulty: Faulty, open_as: Open) -> None:
    given = connection(faulty)
    assert open_as(**given).send(LIST, doing="x").status == 200
    faulty.tokens.expire()
    assert open_as(**given).send(LIST, doing="x").status == 200
    assert (faulty.tokens.issued, faulty.tokens.refused) == (2, 0)


def test_a_seed_taken_out_of_the_map_is_not_missed(faulty: Faulty, open_as: Open) -> None:
    seeded = connection(faulty)
    for given in (seeded, {**seeded, "refresh_token": None}, seeded):
        assert open_as(**given).send(LIST, doing="x").status == 200
        faulty.tokens.expire()
    assert (faulty.tokens.issued, faulty.tokens.refused) == (3, 0)


def test_another_seed_in_the_map_begins_anew(faulty: Faulty, open_as: Open) -> None:
    assert open_as(**connection(faulty)).send(LIST, doing="x").status == 200
    faulty.tokens.refresh_token = "pasted-by-a-person"
    faulty.tokens.expire()
    assert open_as(**connection(faulty)).send(LIST, doing="x").status == 200
    assert faulty.tokens.refused == 0


def test_client_credentials_are_shared_and_renewed(faulty: Faulty, open_as: Open) -> None:
    auth: dict[str, object] = {
        "grants": ["client_credentials"],
        "client_auth": "client_secret_post",
        "scopes": ["a", "b"],
    }
    given = connection(faulty, refresh_token=None)
    for _ in range(2):
        assert open_as(auth=auth, **given).send(LIST, doing="x").status == 200
    assert faulty.tokens.issued == 1
    faulty.tokens.expire()
    assert open_as(auth=auth, **given).send(LIST, doing="x").status == 200
    assert faulty.tokens.issued == 2


def test_a_token_is_renewed_ahead_of_its_end(
    faulty: Faulty, open_as: Open, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty.tokens.lasts = 1000.0
    opened = open_as(**connection(faulty))
    issued, passed = [], 0.0
    for seconds in (0.0, 900.0, 45.0):  # a minute before its end is early enough
        passed += seconds
        monkeypatch.setattr(tokens, "monotonic", lambda passed=passed: time.monotonic() + passed)
        with state.connection() as own:
            own.execute(
                "update token set expires_at = expires_at - make_interval(secs => %(passed)s),"
                " obtained_at = obtained_at - make_interval(secs => %(passed)s)",
                {"passed": seconds},
            )
        assert opened.send(LIST, doing="x").status == 200
        issued.append(faulty.tokens.issued)
    assert issued == [1, 1, 2]
    assert faulty.count("GET", "/contacts", 401) == 0


def test_a_401_in_the_middle_of_a_list_costs_one_renewal(faulty: Faulty, open_as: Open) -> None:
    for number in range(250):
        faulty.add(name=f"Contact {number}")
    api = open_api(open_as(**connection(faulty)))
    first = api.page("contacts")
    faulty.tokens.expire()
    second = api.page("contacts", after=first.after)
    third = api.page("contacts", after=second.after)
    assert len({record["id"] for page in (first, second, third) for record in page.records}) == 250
    assert faulty.tokens.issued == 2


def test_many_threads_renew_once(faulty: Faulty, open_as: Open) -> None:
    opened = open_as(**connection(faulty))
    opened.send(LIST, doing="x")
    faulty.tokens.expire()
    threads = [threading.Thread(target=opened.send, args=(LIST,), kwargs={"doing": "x"}) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (faulty.tokens.issued, faulty.tokens.refused) == (2, 0)


def test_a_refused_renewal_needs_a_person(faulty: Faulty, open_as: Open, caplog: pytest.LogCaptureFixture) -> None:
    faulty.tokens.revoked = True
    given = connection(faulty)
    with caplog.at_level(logging.INFO), pytest.raises(AuthError, match="sorbus api login crm") as caught:
        open_as(**given).send(LIST, doing="x")
    shown = str(caught.value) + caplog.text
    assert "revoked or used up" in shown
    assert not any(str(secret) in shown for name, secret in given.items() if name != "client_id")
    with pytest.raises(AuthError, match="client_id, client_secret"):
        open_as(**{**given, "client_secret": "other"}).send(LIST, doing="x")
    with pytest.raises(AuthError, match="no login for crm yet"):
        open_as(**{**given, "refresh_token": None}).send(LIST, doing="x")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [(400, {"error": "invalid_grant"}, AuthError), (401, {}, AuthError), (400, {"message": "bad token"}, AuthError),
     (400, {"error": "temporarily_unavailable"}, TransientError), (429, {}, TransientError), (503, {}, TransientError),
     (404, {}, AuthError), (302, {}, AuthError), (200, {}, TransientError), (200, {"token": "a"}, AuthError),
     (200, {"access_token": "a\nb"}, AuthError), (200, {"error": "invalid_grant"}, AuthError)],
)  # fmt: skip
def test_rejected_is_told_from_unreachable(status: int, body: object, kind: type[Exception]) -> None:
    with answering(lambda asked: as_json(status, body)) as (url, _):
        endpoint = TokenEndpoint(application(url, {"auth": OAUTH2}, client_id="c", client_secret="s"))
        with pytest.raises(kind):
            endpoint.refresh("r")


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("auth", "status", "kind", "content"),
    [
        ({}, 201, "application/json", b'{"access_token": "a"}'),
        ({}, 200, FORM, b"access_token=a&scope=&token_type=bearer"),
        ({}, 200, "text/plain", b"access_token=a&expires=5183999"),
        ({"tokens_at": "data"}, 200, "application/json", b'{"data": {"access_token": "a"}}'),
        ({"tokens_at": "data.attributes"}, 200, "application/json", b'{"data": {"attributes": {"access_token": "a"}}}'),
    ],
)
def test_tokens_are_read_as_endpoints_send_them(
    auth: dict[str, object], status: int, kind: str, content: bytes
) -> None:
    with answering(lambda asked: (status, {"Content-Type": kind}, content)) as (url, _):
        endpoint = TokenEndpoint(application(url, {"auth": {**OAUTH2, **auth}}, client_id="c", client_secret="s"))
        assert endpoint.client_credentials().access == "a"
        assert endpoint.refresh("r").access == "a"


@pytest.mark.parametrize(
    ("status", "body", "fix"),
    [
        (403, {"error": "access_denied"}, "token_parameters: {audience"),
        (400, {"message": "bad"}, "token_parameters: {audience"),
        (401, {}, "client_id, client_secret"),
        (400, {"error": "invalid_grant"}, "client_id, client_secret"),
        (400, {"error": "unsupported_grant_type"}, "another `grant:`"),
        (404, {"message": "not found"}, "token_url"),
        (405, {}, "token_url"),
        (200, {"data": {"access_token": "a"}}, "tokens_at: data`"),
        (200, {"result": {"auth": {"access_token": "a"}}}, "tokens_at: result.auth`"),
        (200, {"accessToken": "a"}, "with accessToken, and no access_token"),
    ],
)
def test_what_only_a_person_can_change_is_said_so(status: int, body: object, fix: str) -> None:
    with answering(lambda asked: as_json(status, body)) as (url, _):
        endpoint = TokenEndpoint(application(url, {"auth": OAUTH2}, client_id="c", client_secret="s"))
        with pytest.raises(AuthError, match=re.escape(fix)) as caught:
            endpoint.client_credentials()
    assert "api login" not in str(caught.value), "nobody can log in for client_credentials"
    assert "try again" not in str(caught.value)


def test_token_parameters_are_sent_with_each_request_and_login() -> None:
    auth = {
        **OAUTH2,
        "authorize_url": "https://crm.example/authorize",
        "token_parameters": {"audience": "https://api.crm"},
    }
    with answering(lambda asked: as_json(200, {"access_token": "a"})) as (url, seen):
        endpoint = TokenEndpoint(application(url, {"auth": auth}, client_id="c", client_secret="s"))
        endpoint.client_credentials()
        endpoint.refresh("r")
        login, _ = endpoint.login_url(verifier="v" * 43, redirect_uri="http://127.0.0.1:9/callback")
    for sent in (*(one.body.decode() for one in seen), login):
        assert "audience=https%3A%2F%2Fapi.crm" in sent
    assert [b"grant_type=client_credentials" in seen[0].body, b"refresh_token=r" in seen[1].body] == [True, True]


def test_an_unreachable_token_endpoint_is_transient() -> None:
    with answering(lambda asked: as_json(200, {})) as (url, _):
        pass
    with pytest.raises(TransientError, match=r"no answer \(ConnectError\)"):
        TokenEndpoint(application(url, {"auth": OAUTH2}, client_id="c", client_secret="s")).refresh("r")


def test_tokens_that_the_state_could_not_take_are_stored_later(faulty: Faulty, open_as: Open, database: str) -> None:
    """The old refresh token is used up by then: asking again would be refused."""
    opened = open_as(**connection(faulty))
    with psycopg.connect(database, autocommit=True) as person:
        person.execute("alter table sorbus.token add constraint full_disk check (false)")
        with pytest.raises(Exception, match="full_disk"):
            opened.send(LIST, doing="x")
        person.execute("alter table sorbus.token drop constraint full_disk")
    assert opened.send(LIST, doing="x").status == 200
    assert (faulty.tokens.issued, faulty.tokens.refused) == (1, 0)


class Processes:
    """Processes that send one request each when told."""

    def __init__(self, dsn: str, faulty: Faulty) -> None:
        self._words = (dsn, faulty.base_url, json.dumps(connection(faulty)))
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *when: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "tests.http_api.renewing", *self._words, *when]
        made = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        self.started.append(made)
        return made

    def run(self, *processes: subprocess.Popen[str]) -> list[str]:
        """Lets them go at the same moment; what each said last, or how it ended."""
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", process.communicate()[1]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.communicate(timeout=30) for process in processes]
        return [
            out.strip() or (str(process.returncode) if process.returncode < 0 else errors)
            for process, (out, errors) in zip(processes, said, strict=True)
        ]


@pytest.fixture
def processes(database: str, state: State, faulty: Faulty) -> Iterator[Processes]:
    faulty.auth = "oauth2"
    made = Processes(database, faulty)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
            process.wait(10)


def test_two_processes_renew_one_rotated_token_once(processes: Processes, faulty: Faulty) -> None:
    faulty.slow = 0.2
    assert processes.run(processes.start(), processes.start(), processes.start()) == ["200"] * 3
    assert (faulty.tokens.issued, faulty.tokens.refused) == (1, 0)


@pytest.mark.slow
def test_killed_between_the_tokens_answer_and_its_use_loses_nothing(processes: Processes, faulty: Faulty) -> None:
    assert processes.run(processes.start("die-unused")) == ["-9"]
    assert processes.run(processes.start()) == ["200"]
    assert (faulty.tokens.issued, faulty.tokens.refused) == (1, 0)


@pytest.mark.slow
def test_killed_before_storing_goes_on_by_the_endpoints_grace(processes: Processes, faulty: Faulty) -> None:
    """Nobody can store what a dead process heard: vendors let the last refresh token live on for some time for this."""
    faulty.tokens.previous_lasts = 60.0
    assert processes.run(processes.start("die-unstored")) == ["-9"]
    assert processes.run(processes.start()) == ["200"]
    assert faulty.tokens.refused == 0


def test_a_login_url_asks_with_pkce_and_its_code_is_exchanged(state: State) -> None:
    given = as_json(200, {"access_token": "a", "refresh_token": "r", "expires_in": "60"})
    with answering(lambda asked: given) as (url, asked):
        auth = {**OAUTH2, "authorize_url": f"{url}/login", "scopes": ["read"], "login_scopes": ["offline"]}
        bound = application(url, {"auth": auth}, client_id="me", client_secret="s")
        endpoint = TokenEndpoint(bound)
        where, expected = endpoint.login_url(verifier="v" * 43, redirect_uri="http://127.0.0.1:9/callback")
        assert f"state={expected}" in where
        assert all(part in where for part in ("code_challenge_method=S256", "scope=read+offline", "client_id=me")), (
            where
        )
        tokens = endpoint.exchange("the-code", verifier="v" * 43, redirect_uri="http://127.0.0.1:9/callback")
    assert asked[0].headers["Authorization"] == f"Basic {base64.b64encode(b'me:s').decode()}"
    assert b"code_verifier=" + b"v" * 43 in asked[0].body
    store = TokenStore(state, bound)
    store.keep(tokens)
    kept = store.read()
    assert isinstance(kept, Tokens)
    assert (kept.access, kept.refresh, kept.lasts, kept.is_fresh) == ("a", "r", 60.0, True)
    assert "'a'" not in repr(kept)
