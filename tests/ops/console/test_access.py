"""Who may enter the console: nobody unasked outside the loopback address, nobody with a forged or guessed word."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from typer.testing import Result

from sorbus.audit import AuditFilter, AuditTrail
from sorbus.errors import AuthError, SorbusError
from sorbus.map.loaded import LoadedMap
from sorbus.ops.console.access.accounts import Accounts, Sessions
from sorbus.ops.console.access.attempts import (
    PER_ACCOUNT,
    PER_ACCOUNT_AND_ADDRESS,
    PER_ADDRESS,
    PER_DEVICE,
    Attempts,
)
from sorbus.ops.console.access.auth_config import AuthConfig
from sorbus.ops.console.access.authenticators import AccountAuth, Proxies, ProxyAuth
from sorbus.ops.console.access.host_policy import HostPolicy
from sorbus.ops.console.access.passwords import WeakPassword
from sorbus.ops.console.access.streams import PER_SESSION
from sorbus.ops.console.access.user import Role
from sorbus.ops.console.app import pages_of
from sorbus.ops.decisions.registry import DECISION_KINDS
from sorbus.ops.embedded import Addresses
from sorbus.settings import Settings
from sorbus.state import State, migrate
from tests.databases import new_database
from tests.ops.conftest import Sorbus
from tests.ops.console.conftest import Serve, write_map
from tests.ops.console.visitor import Served, Visitor, serving

PASSWORD = "three quiet rowan trees"
PATHS = [
    "/",
    "/flows/customer-to-accounting",
    "/systems/crm",
    "/events",
    "/nowhere",
    "//login",
    "/login/../",
    "/static",
]


@pytest.fixture(scope="module")
def shared(stack: Addresses) -> Iterator[State]:
    """One state for all tests here, each of which begins with the same accounts."""
    state = State(new_database(stack.database))
    migrate(state)
    made = Accounts(state)
    for account, role in (("mara", Role.operator), ("vic", Role.viewer), ("ada", Role.admin)):
        made.add(account, role, PASSWORD, "root")
    state.run(b"create table first_accounts as table console_account")
    yield state
    state.close()


@pytest.fixture
def state(shared: State) -> State:
    """The state as it was at first."""
    with shared.connection() as connection:
        connection.execute("truncate console_account, console_session, console_attempt, console_device")
        connection.execute("insert into console_account table first_accounts")
    return shared


@pytest.fixture
def accounts(state: State) -> Accounts:
    """Mara may act, Vic may read, Ada may all."""
    return Accounts(state)


@pytest.fixture(scope="module")
def open_console(stack: Addresses, shared: State, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One console for all tests here, that people log in to."""
    loaded = write_map(tmp_path_factory.mktemp("company"), f"t{uuid.uuid4().hex[:12]}", stack.database)
    settings = Settings(kafka=stack.kafka, registry=stack.registry, database=stack.database)
    with serving(loaded, settings, shared, AccountAuth(Sessions(shared))) as served:
        yield served


@pytest.fixture
def guarded(open_console: Served, state: State) -> Served:
    """A console that people log in to, and nobody has yet."""
    return open_console


def log_in(served: Served, name: str, password: str = PASSWORD, way: str = "/") -> Visitor:
    visitor = served.visitor()
    answer = visitor.post("/login", {"name": name, "password": password, "next": way})
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"] == way
    return visitor


def storm(state: State, address: str) -> None:
    """As many tries from an address as it has, each for another account."""
    attempts = Attempts(state)
    assert [attempts.admit(f"guess{number}", address) for number in range(PER_ADDRESS)] == [0.0] * PER_ADDRESS


def who(visitor: Visitor) -> str:
    """What the page says of who is reading it."""
    found = re.search(r'<span class="soft">(.+? · \w+)</span>', visitor.get("/").text)
    assert found
    return re.sub("<[^>]+>", "", found[1])


@pytest.mark.parametrize("path", PATHS)
def test_nobody_sees_anything_without_a_login(guarded: Served, path: str) -> None:
    answer = guarded.visitor().get(path)
    assert answer.status_code in (303, 401, 404)
    if answer.status_code == 303:
        assert answer.headers["location"].startswith("/login?next=")
    assert "Larkspur" not in answer.text
    assert "crm" not in answer.text


ROUTES = [route for page in pages_of(DECISION_KINDS) for route in page.routes]
FOR_ALL = {"/login"}
OWN = {"/login", "/logout", "/account", "/measure"}
"""What everybody may send: it changes nothing, or only what is theirs."""


def ways(method: str, but: set[str]) -> list[str]:
    """Every address that a page module has for a method, whatever it is about being called x."""
    found = {route.path for route in ROUTES if method in (route.methods or ())} - but
    assert len(found) > 5
    return sorted(re.sub(r"\{[^}]+\}", "1", path) for path in found)


@pytest.mark.parametrize("way", ways("GET", FOR_ALL))
def test_no_page_is_forgotten_by_the_gate(guarded: Served, way: str) -> None:
    answer = guarded.visitor().get(way)
    assert (answer.status_code, answer.headers["location"].startswith("/login?")) == (303, True)


@pytest.mark.parametrize("way", ways("POST", OWN))
def test_a_viewer_can_change_nothing(guarded: Served, way: str) -> None:
    answer = log_in(guarded, "vic").post(way, form="/")
    assert answer.status_code == 403
    assert "vic has the role viewer" in answer.text


def test_a_login_leads_to_where_somebody_wanted_to_go(guarded: Served) -> None:
    visitor = guarded.visitor()
    asked = visitor.get("/?of=crm")
    assert asked.headers["location"] == "/login?next=%2F%3Fof%3Dcrm"
    entered = visitor.post("/login", {"name": "mara", "password": PASSWORD, "next": "/?of=crm"})
    assert entered.headers["location"] == "/?of=crm"
    assert who(visitor) == "mara · operator"


@pytest.mark.parametrize(
    "way",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "evil", "/\t/evil.example"],
)
def test_a_login_leads_nowhere_else(guarded: Served, way: str) -> None:
    answer = guarded.visitor().post("/login", {"name": "mara", "password": PASSWORD, "next": way})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_a_wrong_password_and_an_unknown_account_are_told_the_same(guarded: Served) -> None:
    answers = [
        guarded.visitor().post("/login", {"name": name, "password": "three loud rowan trees", "next": "/"})
        for name in ("mara", "nobody")
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert "Wrong account or password" in answers[0].text
    assert "Wrong account or password" in answers[1].text


def test_a_session_is_new_at_login_so_that_a_planted_one_is_worth_nothing(guarded: Served) -> None:
    visitor = guarded.visitor()
    visitor.client.cookies.set("sorbus", "planted-by-somebody-else")
    answer = visitor.post("/login", {"name": "mara", "password": PASSWORD, "next": "/"})
    assert answer.status_code == 303
    given = answer.cookies["sorbus"]
    assert given != "planted-by-somebody-else"
    other = guarded.visitor()
    other.client.cookies.set("sorbus", "planted-by-somebody-else")
    assert other.get("/").status_code == 303


def test_a_logout_ends_the_session_everywhere(guarded: Served) -> None:
    visitor = log_in(guarded, "mara")
    copied = visitor.client.cookies["sorbus"]
    assert visitor.post("/logout", form="/").status_code == 303
    thief = guarded.visitor()
    thief.client.cookies.set("sorbus", copied)
    assert thief.get("/").status_code == 303


@pytest.mark.parametrize(
    "change",
    [
        lambda accounts: accounts.set_password("mara", "four quiet rowan trees", "ada"),
        lambda accounts: accounts.disable("mara", "ada"),
    ],
)
def test_a_new_password_and_a_disabled_account_end_its_sessions(
    guarded: Served, accounts: Accounts, change: Callable[[Accounts], None]
) -> None:
    visitor = log_in(guarded, "mara")
    change(accounts)
    assert visitor.get("/").status_code == 303


def test_a_disabled_account_can_not_log_in(guarded: Served, accounts: Accounts) -> None:
    accounts.disable("mara", "ada")
    answer = guarded.visitor().post("/login", {"name": "mara", "password": PASSWORD, "next": "/"})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "statement",
    [
        b"update console_session set made_at = now() - interval '12 hours 1 second'",
        b"update console_session set seen_at = now() - interval '2 hours 1 second'",
    ],
)
def test_a_session_ends_after_a_day_s_work_and_when_nobody_does_anything(
    guarded: Served, state: State, statement: bytes
) -> None:
    visitor = log_in(guarded, "mara")
    state.run(statement)
    assert visitor.get("/").status_code == 303


def test_pages_that_fetch_what_has_changed_keep_no_session_awake(guarded: Served, state: State) -> None:
    visitor = log_in(guarded, "mara")
    state.run(b"update console_session set seen_at = now() - interval '1 hour'")
    assert visitor.get("/", **{"HX-Request": "true"}).status_code == 200
    assert _idle(state) > 3500
    assert visitor.get("/").status_code == 200
    assert _idle(state) < 60


def test_another_role_counts_at_once(guarded: Served, accounts: Accounts) -> None:
    visitor = log_in(guarded, "mara")
    accounts.set_role("mara", Role.viewer, "ada")
    assert who(visitor) == "mara · viewer"


def test_the_state_holds_no_password_and_no_token(guarded: Served, state: State) -> None:
    visitor = log_in(guarded, "mara")
    token = visitor.client.cookies["sorbus"]
    [[kept]] = state.run(b"select hash from console_account where name = 'mara'")
    assert str(kept).startswith("$argon2id$")
    assert PASSWORD not in str(kept)
    [[hashed]] = state.run(b"select hash from console_session")
    assert token.encode() not in bytes(hashed)  # type: ignore[arg-type]


def test_a_storm_of_logins_is_slowed_down_for_one_account(guarded: Served) -> None:
    statuses: Counter[int] = Counter()

    def try_some() -> None:
        visitor = guarded.visitor()
        for number in range(5):
            answer = visitor.post("/login", {"name": "mara", "password": f"wrong password {number}", "next": "/"})
            statuses[answer.status_code] += 1

    threads = [threading.Thread(target=try_some) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == {401: PER_ACCOUNT_AND_ADDRESS, 429: 25 - PER_ACCOUNT_AND_ADDRESS}
    answer = guarded.visitor().post("/login", {"name": "mara", "password": PASSWORD, "next": "/"})
    assert answer.status_code == 429, "the right password must have to wait too, or guessing would go on"
    assert int(answer.headers["retry-after"]) > 0


def test_a_storm_over_many_accounts_is_slowed_down_for_one_address(guarded: Served, state: State) -> None:
    storm(state, "127.0.0.1")
    answer = guarded.visitor().post("/login", {"name": "mara", "password": PASSWORD, "next": "/"})
    assert answer.status_code == 429


def test_tries_are_forgotten_after_a_while(guarded: Served, state: State) -> None:
    attempts = Attempts(state)
    many = PER_ACCOUNT_AND_ADDRESS
    assert [attempts.admit("mara", "198.51.100.7") for _ in range(many)] == [0.0] * many
    assert attempts.admit("mara", "198.51.100.7") > 0
    state.run(b"update console_attempt set at = at - interval '15 minutes'")
    log_in(guarded, "mara")


def test_wrong_tries_from_elsewhere_keep_nobody_out(guarded: Served, state: State) -> None:
    attempts = Attempts(state)
    while not attempts.admit("mara", "203.0.113.9"):
        pass
    log_in(guarded, "mara")


def test_a_flood_from_everywhere_keeps_out_no_browser_that_is_known(guarded: Served, state: State) -> None:
    mara, attempts = log_in(guarded, "mara"), Attempts(state)
    mara.client.cookies.delete("sorbus")
    waits = [attempts.admit("mara", f"203.0.113.{number}") for number in range(PER_ACCOUNT + 1)]
    assert waits[:-1] == [0.0] * PER_ACCOUNT
    assert waits[-1] > 0, "guesses from everywhere together must be slowed down"
    storm(state, "127.0.0.1")

    form = {"name": "mara", "password": PASSWORD, "next": "/"}
    assert guarded.visitor().post("/login", form).status_code == 429
    assert mara.post("/login", form).status_code == 303


def test_a_browser_that_is_known_may_not_guess_for_ever_either(guarded: Served) -> None:
    mara = log_in(guarded, "mara")
    mara.client.cookies.delete("sorbus")
    statuses = [
        mara.post("/login", {"name": "mara", "password": f"wrong {number}", "next": "/"}).status_code
        for number in range(PER_DEVICE + 2)
    ]
    assert statuses == [401] * PER_DEVICE + [429] * 2


@pytest.mark.parametrize("device", ["", "made up", "\x00", "x" * 4000])
def test_a_device_that_is_made_up_or_another_account_s_is_worth_nothing(
    guarded: Served, state: State, device: str
) -> None:
    known = log_in(guarded, "vic").client.cookies["sorbus-device"]
    attempts = Attempts(state)
    assert not attempts.is_known("mara", device)
    assert not attempts.is_known("mara", known)
    assert attempts.is_known("vic", known)


def test_a_new_password_forgets_the_browsers_that_knew_the_old_one(
    guarded: Served, accounts: Accounts, state: State
) -> None:
    known = log_in(guarded, "mara").client.cookies["sorbus-device"]
    accounts.set_password("mara", "four quiet rowan trees", "ada")
    assert not Attempts(state).is_known("mara", known)


def test_event_streams_are_few_for_each_session_and_end_with_it(guarded: Served) -> None:
    visitor = log_in(guarded, "vic")
    with ExitStack() as opened:
        answers = [opened.enter_context(visitor.client.stream("GET", "/events")) for _ in range(PER_SESSION + 3)]
        assert [answer.status_code for answer in answers] == [200] * PER_SESSION + [429] * 3
        lines = answers[0].iter_lines()
        assert next(line for line in lines if line.startswith("event:")) == "event: changed"
        other = guarded.visitor()
        other.client.cookies.set("sorbus", visitor.client.cookies["sorbus"])
        assert other.post("/logout", form="/account").status_code == 303
        for answer in answers[1:PER_SESSION]:
            for _ in answer.iter_lines():  # ends, or the client's time-out fails the test
                pass


def test_event_streams_end_with_a_disabled_account(guarded: Served, accounts: Accounts) -> None:
    with log_in(guarded, "vic").client.stream("GET", "/events") as answer:
        accounts.disable("vic", "ada")
        for _ in answer.iter_lines():
            pass
    assert answer.is_closed


def test_right_passwords_keep_nobody_out_who_shares_the_address(guarded: Served, state: State) -> None:
    attempts = Attempts(state)
    for number in range(PER_ADDRESS + 5):
        assert attempts.admit(f"person{number}", "198.51.100.7") == 0
        attempts.succeeded(f"person{number}", "198.51.100.7")
    assert state.run(b"select count(*) from console_attempt") == [(0,)]


def test_guessing_the_old_password_within_a_session_is_slowed_down_too(guarded: Served) -> None:
    mara = log_in(guarded, "mara")
    for number in range(PER_DEVICE):
        mara.post("/account", {"old": f"wrong password {number}", "new": "x", "again": "x"})
    mara.post("/account", {"old": PASSWORD, "new": "six quiet rowan trees", "again": "six quiet rowan trees"})
    assert "Too many attempts" in mara.get("/account").text
    assert mara.get("/").status_code == 200


def test_what_is_no_host_and_no_way_is_refused_quietly(guarded: Served, console: Served) -> None:
    assert console.visitor().get("/", Host="[").status_code == 421
    visitor = guarded.visitor()
    answer = visitor.post("/login", {"name": "mara", "password": PASSWORD, "next": "//["})
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaaaaaa", "mara and a hundred", "x" * 257])
def test_a_weak_password_is_refused(accounts: Accounts, password: str) -> None:
    with pytest.raises(WeakPassword):
        accounts.set_password("mara", password, "ada")


def test_a_name_is_given_once_and_can_not_be_anything(accounts: Accounts) -> None:
    with pytest.raises(SorbusError, match="already"):
        accounts.add("mara", Role.admin, PASSWORD, "ada")
    with pytest.raises(SorbusError, match="can't be an account's name"):
        accounts.add("<script>", Role.viewer, PASSWORD, "ada")
    with pytest.raises(SorbusError, match="no account zoe"):
        accounts.set_role("zoe", Role.admin, "ada")


ROLES = {"sorbus-ops": Role.operator, "sorbus-admins": Role.admin, "staff": Role.viewer}


@pytest.mark.parametrize(
    ("groups", "shown"),
    [("staff", "kim · viewer"), ("staff, sorbus-ops", "kim · operator"), ("sorbus-admins,staff", "kim · admin")],
)
def test_a_proxy_that_is_trusted_says_who_it_is(serve: Serve, groups: str, shown: str) -> None:
    served = serve(authenticator=ProxyAuth(Proxies(["127.0.0.0/8"]), ROLES))
    visitor = served.visitor({"X-Forwarded-User": "kim", "X-Forwarded-Groups": groups})
    assert who(visitor) == shown


@pytest.mark.parametrize(
    ("proxies", "headers"),
    [
        (["10.0.0.7"], {"X-Forwarded-User": "kim", "X-Forwarded-Groups": "sorbus-admins"}),
        (["10.0.0.7"], {"X-Forwarded-User": "kim", "X-Forwarded-Groups": "staff", "X-Forwarded-For": "10.0.0.7"}),
        (["127.0.0.1"], {"X-Forwarded-Groups": "sorbus-admins"}),
        (["127.0.0.1"], {"X-Forwarded-User": "kim", "X-Forwarded-Groups": "guests"}),
        (["127.0.0.1"], {"X-Forwarded-User": "kim"}),
    ],
)
def test_anybody_else_s_word_is_ignored(serve: Serve, proxies: list[str], headers: dict[str, str]) -> None:
    answer = serve(authenticator=ProxyAuth(Proxies(proxies), ROLES)).visitor(headers).get("/")
    assert answer.status_code == 403
    assert "Larkspur" not in answer.text


def test_who_a_proxy_s_person_is_can_not_be_chosen_by_themselves(serve: Serve) -> None:
    served = serve(authenticator=ProxyAuth(Proxies(["127.0.0.0/8"]), ROLES))
    headers = {"X-Forwarded-User": "u-17", "X-Forwarded-Email": "kim@example.com", "X-Forwarded-Groups": "staff"}
    visitor = served.visitor({**headers, "X-Forwarded-Preferred-Username": "the boss"})
    assert who(visitor) == "kim@example.com (u-17) · viewer"


def test_an_open_console_refuses_what_a_proxy_passes_on(console: Served) -> None:
    answer = console.visitor({"X-Forwarded-For": "198.51.100.7"}).get("/")
    assert answer.status_code == 403
    assert "--trust-proxy" in answer.text


def test_a_trusted_proxy_s_clients_are_counted_apart(serve: Serve, accounts: Accounts, state: State) -> None:
    served = serve(authenticator=AccountAuth(Sessions(state)), proxies=["127.0.0.1"])
    storm(state, "198.51.100.7")
    stormy = served.visitor({"X-Forwarded-For": "198.51.100.7"})
    assert stormy.post("/login", {"name": "ada", "password": PASSWORD, "next": "/"}).status_code == 429
    forged = served.visitor({"X-Forwarded-For": "203.0.113.9, 198.51.100.7"})
    assert forged.post("/login", {"name": "ada", "password": PASSWORD, "next": "/"}).status_code == 429
    other = served.visitor({"X-Forwarded-For": "198.51.100.8"})
    assert other.post("/login", {"name": "ada", "password": PASSWORD, "next": "/"}).status_code == 303


def test_a_console_for_others_does_not_open_without_somebody_to_ask(state: State) -> None:
    auth_config = AuthConfig(url="https://sorbus.example.com")
    site = auth_config.site("0.0.0.0", 9490)
    for name in ("ada", "mara", "vic"):
        Accounts(state).disable(name, "root")
    with pytest.raises(AuthError, match="account add"):
        auth_config.authenticator("0.0.0.0", site, state)
    with pytest.raises(AuthError, match="account add"):
        AuthConfig(login=True).authenticator("127.0.0.1", HostPolicy("http://127.0.0.1:9490"), state)
    Accounts(state).disable("ada", "root", undo=True)
    assert isinstance(auth_config.authenticator("0.0.0.0", site, state), AccountAuth)
    with pytest.raises(AuthError, match="TLS"):
        AuthConfig().site("0.0.0.0", 9490)
    with pytest.raises(SorbusError, match="--trust-proxy"):
        AuthConfig(proxy_roles=ROLES).authenticator("0.0.0.0", site, state)


def test_a_console_behind_tls_has_cookies_that_travel_nowhere_else(
    serve: Serve, accounts: Accounts, state: State
) -> None:
    served = serve(authenticator=AccountAuth(Sessions(state)), url="https://sorbus.example.com")
    answer = served.visitor({"Host": "sorbus.example.com"}).get("/login")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-sorbus=")
    for part in ("Secure", "HttpOnly", "SameSite=lax", "Path=/"):
        assert part in cookie
    assert "Domain" not in cookie
    assert answer.headers["strict-transport-security"]
    assert served.visitor().get("/login").status_code == 421, "its loopback name isn't how people reach it"


def test_an_admin_has_the_accounts_and_nobody_else(guarded: Served, state: State) -> None:
    ada = log_in(guarded, "ada")
    assert "vic" in ada.get("/accounts").text
    sent = {"name": "kim", "role": "operator", "password": "five quiet rowan trees"}
    assert ada.post("/accounts", sent).status_code == 303
    kim = log_in(guarded, "kim", "five quiet rowan trees")
    for visitor, role in ((kim, "operator"), (log_in(guarded, "vic"), "viewer")):
        answer = visitor.get("/accounts")
        assert answer.status_code == 403
        assert f"has the role {role}. Ask an admin" in answer.text
        assert 'href="/accounts"' not in visitor.get("/").text
        assert visitor.post("/accounts", sent, form="/").status_code == 403
        assert visitor.post("/accounts/ada", {"action": "disable"}, form="/").status_code == 403
    assert ada.post("/accounts/kim", {"action": "role", "role": "viewer"}, form="/accounts").status_code == 303
    assert who(kim) == "kim · viewer"
    ada.post("/accounts/kim", {"action": "disable"}, form="/accounts")
    assert kim.get("/").status_code == 303
    ada.post("/accounts/ada", {"action": "disable"}, form="/accounts")
    assert "ask another admin" in ada.get("/accounts").text
    told = [(entry.who, entry.action) for entry in AuditTrail(state).page(filter=AuditFilter(subject="kim"))]
    assert told == [("ada", "disable account"), ("ada", "change role"), ("ada", "add account")]


def test_people_change_their_own_password_when_they_know_the_old_one(guarded: Served) -> None:
    mara = log_in(guarded, "mara")
    new = "six quiet rowan trees"
    mara.post("/account", {"old": "a guess of somebody", "new": new, "again": new})
    assert "The old password is wrong" in mara.get("/account").text
    assert mara.post("/account", {"old": PASSWORD, "new": new, "again": new}).headers["location"] == "/login"
    assert mara.get("/").status_code == 303
    log_in(guarded, "mara", new)


def test_the_console_does_not_start_for_others_without_somebody_to_ask(
    sorbus: Sorbus, loaded: LoadedMap, database: str
) -> None:
    env = {"SORBUS_DATABASE": database, "SORBUS_KAFKA": "127.0.0.1:1"}
    words = ["--map", str(loaded.file), "console", "--port", "0", "--host", "0.0.0.0"]
    bare = sorbus(*words, **env)
    assert (bare.exit_code, "TLS" in bare.stderr) == (4, True), bare.stderr
    migrate(State(database, loaded.map.topic_prefix))
    unknown = sorbus(*words, "--url", "https://sorbus.example.com", **env)
    assert (unknown.exit_code, "account add" in unknown.stderr) == (4, True), unknown.stderr
    wrong = sorbus(*words, "--proxy-role", "everybody", **env)
    assert wrong.exit_code == 2


def test_accounts_are_had_by_command(sorbus: Sorbus, loaded: LoadedMap, database: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")

    def account(*words: str) -> Result:
        return sorbus("--map", str(loaded.file), "console", "account", *words, SORBUS_DATABASE=database)

    assert "No accounts yet" in account("list").stdout
    assert account("add", "mara", "--role", "operator", "--password-file", str(file)).exit_code == 0
    assert account("role", "mara", "--role", "admin").exit_code == 0
    assert account("disable", "mara").exit_code == 0
    # Of the lines that the command printed: consoles of other tests may log in this process at the same time.
    (shown,) = [json.loads(each) for each in account("list", "--json").stdout.splitlines() if each.startswith("{")]
    assert (shown["name"], shown["role"], shown["disabled"]) == ("mara", "admin", True)
    assert account("disable", "mara", "--undo").exit_code == 0
    accounts = Accounts(State(database, loaded.map.topic_prefix))
    assert accounts.is_password_of("mara", PASSWORD)
    file.write_text("short")
    refused = account("password", "mara", "--password-file", str(file))
    assert (refused.exit_code, "12 to 256" in refused.stderr) == (1, True)
    assert account("role", "zoe", "--role", "admin").exit_code == 1


def _idle(state: State) -> float:
    [[seconds]] = state.run(b"select extract(epoch from now() - seen_at)::float8 from console_session")
    return float(str(seconds))
