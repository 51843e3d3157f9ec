"""A process that was refused waits for a person, and takes up what the person gave without being started again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sorbus.cli import refusal
from sorbus.cli.refusal import until_accepted
from sorbus.errors import AuthError, LostPosition, refused_login
from sorbus.map.load import LoadedMap, load_map
from sorbus.state import State
from sorbus.telemetry.health import Health
from sorbus.telemetry.process import Process
from sorbus.telemetry.stop import Stop
from tests.consumers.line import eventually

MAP = """
systems:
  accounting:
    kind: http
    owner: Finance
    connection: {api: xero, tenant_id: t, client_id: me, client_secret: secret, token_url: "http://127.0.0.1:1/token"}
data_types:
  customer: {system_of_record: accounting}
flows: []
"""
KEEP = (
    b"insert into token values ('accounting', '', %s, null, null, now()) on conflict (system) do update"
    b" set access_token = excluded.access_token, obtained_at = clock_timestamp()"
)


class Refused:
    """What a process does: refused as often as told, then it works until asked to stop."""

    def __init__(self, *errors: AuthError | LostPosition) -> None:
        self.errors, self.runs, self.stop, self.health = [*errors], 0, Stop(), Health()

    def __call__(self) -> None:
        self.runs += 1
        if self.errors:
            raise self.errors.pop(0)
        self.health.ready()
        self.stop.wait(20)


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadedMap:
    monkeypatch.setenv(refusal.WHEN_REFUSED, refusal.WAIT)
    monkeypatch.setattr(refusal, "_LOOK", 0.02)
    monkeypatch.setattr(refusal, "_ASK_TOKENS", 0.05)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "map.yaml").write_text(MAP)
    return load_map(tmp_path / "map.yaml")


@contextmanager
def waiting(run: Refused, loaded: LoadedMap, system: str = "", again: float = 60.0) -> Iterator[None]:
    process = Process(run.stop, run.health, 0)
    thread = threading.Thread(target=until_accepted, args=(run, process, loaded, system), kwargs={"again": again})
    thread.start()
    try:
        yield
    finally:
        run.stop.set()
        thread.join(10)
        assert not thread.is_alive(), "it did not stop"


def test_a_token_given_again_is_taken_up_without_a_restart(
    loaded: LoadedMap, state: State, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SORBUS_DATABASE", database)
    given = State(database, loaded.map.topic_prefix)
    given.run(KEEP, ["revoked"])
    run = Refused(refused_login(AuthError("the refresh token was revoked")))
    with waiting(run, loaded, "accounting"):
        eventually(lambda: run.health.status().dependency == refusal.REFUSED, "it does not say that it was refused")
        assert not threading.Event().wait(0.4)  # several looks at the tokens
        assert run.runs == 1, "a refused login is not tried again by itself"
        given.run(KEEP, ["new"])
        eventually(lambda: run.health.waiting() is None, "the new token was not taken up")
        assert run.runs == 2
    given.close()


@pytest.mark.parametrize("name", ["webhooks", "console"])
def test_a_refused_login_is_tried_once_and_a_missing_right_again(name: str, loaded: LoadedMap) -> None:
    """`sorbus webhooks` and others that use Kafka's login: no system's tokens are theirs."""
    login, right = refused_login(AuthError(f"{name}: SASL: wrong password")), AuthError(f"{name}: no right to write")
    refused = Refused(login)
    with waiting(refused, loaded, again=0.05):
        eventually(lambda: refused.health.status().dependency == refusal.REFUSED, "it does not say that it was refused")
        assert not threading.Event().wait(0.3)
        assert refused.runs == 1
        assert "wrong password" in (refused.health.waiting() or "")
    lacking = Refused(right, LostPosition("the slot is gone"))
    with waiting(lacking, loaded, again=0.05):
        eventually(lambda: lacking.health.waiting() is None, "a right that was given is not noticed")
        assert lacking.runs == 3


@pytest.mark.parametrize("name", [".env", "map.yaml"])
def test_what_was_corrected_before_the_refusal_came_is_taken_up(name: str, loaded: LoadedMap) -> None:
    run, began_anew = Refused(), threading.Event()

    def refused() -> None:
        file = loaded.folder / name
        file.write_text((file.read_text("utf-8") if file.exists() else "") + "# corrected\n", "utf-8")
        raise refused_login(AuthError("SASL: wrong password"))

    thread = threading.Thread(
        target=until_accepted,
        args=(refused, Process(run.stop, run.health, 0), loaded),
        kwargs={"begin_anew": began_anew.set},
    )
    thread.start()
    try:
        assert began_anew.wait(10), "it waits for a correction that is there"
    finally:
        run.stop.set()
        thread.join(10)


def _ends(loaded: LoadedMap) -> Callable[[], None]:
    run = Refused(AuthError("no right"))
    return lambda: until_accepted(run, Process(run.stop, run.health, 0), loaded)


def test_by_itself_it_ends(loaded: LoadedMap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(refusal.WHEN_REFUSED)
    with pytest.raises(AuthError, match="no right"):
        _ends(loaded)()
