"""`sorbus api login`: a person's login, played by a client that follows the printed address."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from sorbus.errors import AuthError, TransientError
from sorbus.http_api.connection import Application
from sorbus.ops.http_api.login import log_in
from sorbus.state import State
from tests.http_api.applications import OAUTH2, Asked, Reply, answering, application, as_json

TOKENS = {"access_token": "a", "refresh_token": "r", "expires_in": 60}


class Person:
    """Opens the printed address, and lets the application send the browser back with this answer."""

    def __init__(self, **answer: str) -> None:
        self._answer, self._threads, self.pages, self.said = (
            answer,
            list[threading.Thread](),
            list[httpx.Response](),
            "",
        )

    def __call__(self, text: str) -> None:
        self.said += text
        if match := re.search(r"http\S+authorize\S+", text):
            self._threads.append(threading.Thread(target=self._go, args=(match[0],)))
            self._threads[-1].start()

    def _go(self, url: str) -> None:
        asked = parse_qs(urlsplit(url).query)
        back = asked["redirect_uri"][0]
        stranger = httpx.get(back, params={"code": "stolen", "state": "guessed"})
        self.pages = [stranger, httpx.get(back, params={"state": asked["state"][0], **self._answer})]

    def join(self) -> None:
        for thread in self._threads:
            thread.join(10)


def bound(url: str, **auth: object) -> Application:
    return application(
        url, {"auth": {**OAUTH2, "authorize_url": f"{url}/authorize", **auth}}, client_id="me", client_secret="s"
    )


def test_a_login_brings_tokens_and_a_strangers_answer_does_not() -> None:
    with answering(lambda asked: as_json(200, TOKENS)) as (url, asked):
        person = Person(code="the-code", realmId="4711")
        tokens = log_in(bound(url), "http://127.0.0.1/callback", 10, person)
        person.join()
    assert (tokens.access, tokens.refresh) == ("a", "r")
    assert [page.status_code for page in person.pages] == [404, 200]
    assert b"code=the-code" in asked[0].body
    assert "realmId: 4711" in person.said
    assert "the-code" not in person.said


def test_who_connects_and_says_nothing_does_not_keep_the_person_out() -> None:
    idle = []

    def first_a_stranger(text: str) -> None:
        port = re.search(r"redirect_uri=http%3A%2F%2F127\.0\.0\.1%3A(\d+)", text)
        assert port is not None, text
        idle.append(socket.create_connection(("127.0.0.1", int(port[1]))))
        person(text)

    person = Person(code="the-code")
    with answering(lambda asked: as_json(200, TOKENS)) as (url, _):
        began = time.monotonic()
        assert log_in(bound(url), "http://127.0.0.1/callback", 10, first_a_stranger).access == "a"
    assert time.monotonic() - began < 4
    person.join()
    idle[0].close()


def test_a_refused_login_says_why_and_nobody_is_waited_for_forever() -> None:
    person = Person(error="access_denied", error_description="not allowed")
    with pytest.raises(AuthError, match="refuses the login: access_denied not allowed"):
        log_in(bound("http://127.0.0.1:1"), "http://localhost/callback", 10, person)
    person.join()
    with pytest.raises(TransientError, match=r"no login within 0\.1 s"):
        log_in(bound("http://127.0.0.1:1"), "http://127.0.0.1/callback", 0.1, lambda text: None)


@pytest.mark.slow
def test_a_pasted_refresh_token_is_tried_and_its_successor_kept(state: State, tmp_path: Path, database: str) -> None:
    def answer(asked: Asked) -> Reply:
        good = b"refresh_token=pasted" in asked.body
        return as_json(200, TOKENS) if good else as_json(400, {"error": "invalid_grant"})

    with answering(answer) as (url, _):
        (tmp_path / "map.yaml").write_text(
            f"""systems:
  accounting:
    kind: http
    owner: Finance
    connection: {{api: xero, tenant_id: t, client_id: me, client_secret: "${{SECRET}}", token_url: "{url}/token"}}
data_types:
  customer: {{system_of_record: accounting}}
flows: []
"""
        )
        environment = {**os.environ, "SECRET": "s", "SORBUS_DATABASE": database}
        command = [Path(sys.executable).parent / "sorbus", "api", "login", "accounting", "--refresh-token-stdin"]
        for given, code in (("pasted\n", 0), ("another\n", 4)):
            done = subprocess.run(
                command, input=given, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
            )
            assert done.returncode == code, done.stdout + done.stderr
            assert given.strip() not in done.stdout + done.stderr
    kept = state.run(b"select system, refresh_token from token")
    assert kept == [("accounting", "r")]
