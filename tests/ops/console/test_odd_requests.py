"""Whatever somebody types, clicks or sends: a page that says what is wrong, never a failure of the console (500)."""

from __future__ import annotations

import inspect
import re
import socket
import threading
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import Route

from sorbus.map.loaded import LoadedMap
from sorbus.ops.console.access import middleware
from sorbus.ops.console.access.accounts import Accounts, Sessions
from sorbus.ops.console.access.authenticators import AccountAuth
from sorbus.ops.console.access.user import Role
from sorbus.ops.console.app import PageGroup, pages_of
from sorbus.ops.decisions.registry import DECISION_KINDS
from sorbus.state import State
from tests.ops.console.conftest import Serve
from tests.ops.console.visitor import Served, Visitor
from tests.search import examples

PAGES = pages_of(DECISION_KINDS)


def code_of(page: PageGroup) -> str:
    """The module that has a page's handlers."""
    (*_, route) = page.routes
    assert isinstance(route, Route)
    return Path(inspect.getsourcefile(inspect.unwrap(route.endpoint)) or "").read_text("utf-8")


WORDS = {
    page: sorted(
        {word for word in re.findall(r'"([\w-]+)"', code_of(page)) if len(word) < 20} | {"f:name", "f:a[99999]", "f:["}
    )
    for page in PAGES
}
"""Of each page the words that its code holds in quotes: its parameters' names are among them, and their values."""
PARAMETERS = {page: sorted(set(re.findall(r'\.get(?:list)?\(\s*"([\w-]+)"', code_of(page)))) for page in PAGES}
ODD = [
    "\0",
    "a\0b",
    "\udcff",
    "-1",
    "0",
    "9" * 30,
    "1e999",
    "NaN",
    "0001-01-01T00:00:00",
    "9999-12-31T23:59:59+23:59",
    "0001-01-01T00:00:00+14:00|x",
    "2026-13-45",
    "2026-W01-1",
    "x" * 9000,
    "../../etc/passwd",
    "{{ 7 * 7 }}",
    "%s %(x)s",
    "';--",
    "\u202e\ufeff\u200d",
    "\U0001f1e9\U0001f1ea",
    "[",
    "http://[",
    "|",
    "customer",
    "customer-to-accounting",
    "crm",
    "\r\nSet-Cookie: x=y",
    " ",
    "",
]


def _bytes(text: str) -> str:
    return quote_from_bytes(text.encode("utf-8", "surrogateescape" if "\udcff" in text else "replace"), safe="")


def _query(fields: list[tuple[str, str]]) -> str:
    return "&".join(f"{_bytes(name)}={_bytes(text)}" for name, text in fields)


def _way(route: Route, text: str) -> str:
    return re.sub(r"\{[^}]+\}", lambda _: _bytes(text) or "x", route.path)


@pytest.fixture
def admin(console: Served) -> Visitor:
    """Who may do everything."""
    return console.visitor()


class Asker:
    """Asks a page of the console, as an admin whose forms have their token."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor, self._token = visitor, visitor.token("/")

    def ask(self, method: str, way: str, fields: list[tuple[str, str]]) -> int:
        """The answer's status."""
        client = self._visitor.client
        if method == "GET":
            return client.get(f"{way}?{_query(fields)}").status_code
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": self._visitor.url}
        content = _query([("csrf", self._token), *fields])
        return client.post(way, content=content, headers=headers).status_code


@pytest.fixture
def asker(console: Served) -> Asker:
    """Who may do everything."""
    return Asker(console.visitor())


def _routes() -> list[tuple[PageGroup, str, Route]]:
    return [(page, method, route) for page in PAGES for route in page.routes for method in sorted(route.methods or ())]


@pytest.mark.search
@given(data=st.data())
@settings(max_examples=examples(300), deadline=None, suppress_health_check=list(HealthCheck))
def test_no_page_fails_whatever_it_is_asked(asker: Asker, data: st.DataObject) -> None:
    page, method, route = data.draw(st.sampled_from(_routes()))
    texts = st.one_of(st.sampled_from([*ODD, *WORDS[page]]), st.text(max_size=40))
    fields = data.draw(st.lists(st.tuples(st.sampled_from(WORDS[page]), texts), max_size=8))
    way = _way(route, data.draw(texts))
    assert asker.ask(method, way, fields) < 500, (method, way, fields)


@pytest.mark.parametrize("odd", ["a\0b", "\udcff", "9" * 30, "9999-12-31T23:59:59+23:59|x", "["])
def test_no_parameter_of_any_page_makes_it_fail(asker: Asker, odd: str) -> None:
    failed = [
        (method, route.path, name)
        for page, method, route in _routes()
        for name in ("", *PARAMETERS[page])
        if asker.ask(method, _way(route, "x" if name else odd), [(name, odd)]) >= 500
    ]
    assert failed == []


@pytest.fixture
def guarded(serve: Serve, state: State) -> Served:
    """A console that people log in to."""
    Accounts(state).add("mara", Role.operator, "three quiet rowan trees", "root")
    return serve(AccountAuth(Sessions(state)))


STRANGE = st.lists(
    st.tuples(st.sampled_from(["name", "password", "next", "csrf", ""]), st.sampled_from(ODD)), max_size=4
)


@given(
    fields=STRANGE, kind=st.sampled_from(["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""])
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_stranger_makes_nothing_fail(guarded: Served, fields: list[tuple[str, str]], kind: str) -> None:
    stranger = guarded.visitor()
    token = stranger.token("/login")
    for way in ("/login", "/letters/act", "/nowhere"):
        content = _query([("csrf", token), ("name", "mara"), *fields])
        answer = stranger.client.post(way, content=content, headers={"Content-Type": kind, "Origin": stranger.url})
        assert answer.status_code < 500, (way, fields)
        assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "head",
    [
        b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: sorbus=\xff\xfe; sorbus-device=\x00\r\n\r\n",
        b"GET /login?next=%00%ff HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: x, , \xff\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"GET /login HTTP/1.1\r\nHost: [\r\n\r\n",
        b"GET /static/..%2f..%2fapp.py HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /static/%00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /static/" + b"x" * 5000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    ],
)
def test_odd_heads_are_refused_or_answered(guarded: Served, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", int(guarded.url.rpartition(":")[2]))) as line:
        line.settimeout(20)
        line.sendall(head)
        assert re.match(rb"HTTP/1\.1 [234]", line.recv(100))


def test_a_stranger_s_form_is_small(guarded: Served) -> None:
    answer = guarded.visitor().post("/login", {"name": "mara", "password": "x" * 70_000})
    assert answer.status_code == 413
    mara = guarded.visitor()
    assert mara.post("/login", {"name": "mara", "password": "three quiet rowan trees"}).status_code == 303
    assert mara.post("/account", {"old": "x" * 70_000}).status_code == 303


def test_all_forms_together_are_bounded_and_room_is_given_back(
    guarded: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(guarded.url.rpartition(":")[2])
    head = b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 60000\r\n\r\n"
    most = middleware.ALL_OF_STRANGERS // 60_000
    with ExitStack() as opened:
        lines = [opened.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(most + 20)]
        for line in lines:
            line.settimeout(20)
            line.sendall(head + b"x" * 59_999)  # held back: the last byte
        refused = threading.Event()
        answers: list[bytes] = []

        def read(line: socket.socket) -> None:
            try:
                answers.append(line.recv(12))
                refused.set()
            except OSError:
                pass

        threads = [threading.Thread(target=read, args=(line,)) for line in lines]
        for thread in threads:
            thread.start()
        assert refused.wait(15), "more was held than the budget allows"
        assert b"HTTP/1.1 503" in answers
        for line in lines:
            line.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
    assert guarded.visitor().post("/login", {"name": "mara", "password": "wrong"}).status_code == 401


def test_a_database_that_is_away_is_said_without_its_address(loaded: LoadedMap, serve: Serve, stack: object) -> None:
    away = State("postgresql://nobody:secret@127.0.0.1:1/none?connect_timeout=1")
    answer = serve(AccountAuth(Sessions(away))).visitor().get("/", Cookie="sorbus=anything")
    assert answer.status_code == 503
    assert "127.0.0.1:1" not in answer.text
    assert "database" in answer.text
