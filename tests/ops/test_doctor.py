"""`sorbus doctor`: says what isn't well, where, and its fix; one broken thing hides nothing of the others."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Event

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from sorbus import native
from sorbus.connector import BoundSystem
from sorbus.diagnosis import Diagnosis, clock
from sorbus.errors import AuthError
from sorbus.http_api.connection import HttpConnection
from sorbus.http_api.diagnose import diagnose_application
from sorbus.mapfile.model import System
from sorbus.ops.doctor.examination import Check, examine
from sorbus.ops.doctor.machine import examine_machine
from sorbus.ops.embedded import Addresses
from sorbus.postgres.connection import PostgresConnection
from sorbus.postgres.diagnose import diagnose_server
from sorbus.state import State
from sorbus.state.database import close_states
from tests.http_api.faulty import Faulty
from tests.ops.conftest import Sorbus

NOW = 1_800_000_000.0
MAP = """
topic_prefix: {prefix}.
systems:
  crm: {{kind: postgres, connection: {{dsn: "${{CRM_DSN}}"}}, owner: Sales}}
  books: {{kind: postgres, connection: {{dsn: "${{BOOKS_DSN}}"}}, owner: Finance}}
data_types:
  product: {{system_of_record: crm, source: {{table: products}}}}
flows:
  - {{data_type: product, to: books, target: {{table: products}}}}
"""
TABLE = "create table products (id text primary key, name text not null, updated_at timestamptz)"


class Clinic:
    """A map with a source and a target, and `sorbus doctor` for it."""

    def __init__(self, folder: Path, sorbus: Sorbus, stack: Addresses, prefix: str, crm: str, books: str) -> None:
        self.folder, self.sorbus = folder, sorbus
        (folder / "map.yaml").write_text(MAP.format(prefix=prefix))
        self.env = {
            "SORBUS_MAP": str(folder / "map.yaml"),
            "SORBUS_KAFKA": stack.kafka,
            "SORBUS_REGISTRY": stack.registry,
            "SORBUS_DATABASE": books,
            "CRM_DSN": crm,
            "BOOKS_DSN": books,
        }

    def examine(self, **env: str) -> tuple[int, list[Diagnosis]]:
        done = self.sorbus("doctor", "--json", **{**self.env, **env})
        assert not done.stderr, done.stderr
        return done.exit_code, [Diagnosis(**json.loads(line)) for line in done.stdout.splitlines()]

    def problems(self, **env: str) -> list[Diagnosis]:
        code, found = self.examine(**env)
        problems = [one for one in found if one.level == "problem"]
        assert code == bool(problems)
        assert all(one.fix for one in found if one.level != "ok"), found
        return problems


@pytest.fixture
def clinic(
    tmp_path: Path, sorbus: Sorbus, stack: Addresses, unique: str, make_database: Callable[[str], str]
) -> Clinic:
    return Clinic(tmp_path, sorbus, stack, unique, make_database(TABLE), make_database(""))


def places(found: Iterable[Diagnosis]) -> set[str]:
    return {one.where for one in found}


def test_before_apply_it_says_what_apply_does_and_after_it_all_is_well(clinic: Clinic) -> None:
    before = clinic.problems()
    assert {"Kafka", "registry", "Sorbus's database", "crm", "books"} <= places(before)
    assert all("sorbus apply" in one.fix for one in before)
    assert clinic.sorbus("apply", "--yes", **clinic.env).exit_code == 0
    code, after = clinic.examine()
    assert (code, [one for one in after if one.level == "problem"]) == (0, [])
    assert {"opens for delivery", "can be read, and holds no record"} <= {one.found for one in after}
    shown = clinic.sorbus("doctor", "--all", **clinic.env).stdout
    assert "✓ clock: it agrees with this machine's" in shown
    assert "checks: 0 problems, " in shown


def test_what_is_away_or_refused_hides_nothing_of_the_others(clinic: Clinic) -> None:
    nobody = make_conninfo(clinic.env["BOOKS_DSN"], user="nobody_by_this_name")
    found = clinic.problems(BOOKS_DSN=nobody, SORBUS_REGISTRY="http://127.0.0.1:9")
    books = [one for one in found if one.where == "books"]
    assert "nobody_by_this_name" in books[0].found
    assert "login" in books[0].fix
    assert any(one.where == "registry" and "can't be asked" in one.found for one in found)
    assert {"Kafka", "crm"} <= places(found), "the others were examined all the same"


def test_a_map_that_can_not_be_read_is_a_finding_and_the_rest_is_examined(clinic: Clinic) -> None:
    (clinic.folder / "map.yaml").write_text("systems: [\n")
    code, found = clinic.examine()
    (broken,) = [one for one in found if one.level == "problem"]
    assert (code, broken.where, broken.what) == (1, "map", "map.yaml:2")
    assert {"this machine", "Kafka", "registry", "Sorbus's database"} <= places(found)


def test_it_says_what_converts_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for absence, found, fix in (("", "converted in C", ""), ("not compiled", "in Python, slower", "install gcc")):
        monkeypatch.setattr(native, "absence", absence)
        (told,) = [one for one in examine_machine(tmp_path) if one.what == "rows"]
        assert found in told.found
        assert fix in told.fix
        assert told.level == "ok", "it works all the same"


def test_a_slot_that_nothing_reads_is_named_with_what_it_keeps(stack: Addresses, unique: str, database: str) -> None:
    from pydantic import SecretStr

    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", [unique])
        try:
            connection_ = PostgresConnection(dsn=SecretStr(database))
            found = {one.what: one for one in diagnose_server("crm", connection_, slots=True)}
        finally:
            connection.execute("select pg_drop_replication_slot(%s)", [unique])
    assert "not read by anything, keeps" in found[f"slot {unique}"].found
    assert found["version"].level == "ok"
    assert "in use" in found["slots"].found


@pytest.mark.parametrize("is_revoked", [False, True])
def test_an_application_s_login_is_tried(
    faulty: Faulty,
    state: State,
    database: str,
    tmp_path: Path,
    unique: str,
    monkeypatch: pytest.MonkeyPatch,
    is_revoked: bool,
) -> None:
    monkeypatch.setenv("SORBUS_DATABASE", database)
    faulty.auth, key = "key", "revoked" if is_revoked else faulty.api_key
    given = {"api": faulty.describe(tmp_path), "base_url": faulty.base_url, "api_key": key}
    system = BoundSystem(unique, System(kind="http"), HttpConnection.model_validate(given), folder=tmp_path)
    [batch] = examine([Check(unique, "server", lambda: diagnose_application(system))])
    close_states()
    found = {one.what: one for one in batch}
    assert found["connection"].level == "ok"
    assert "certificate" not in found, "it has no TLS"
    if is_revoked:
        assert found["server"].level == "problem"
        assert "login" in found["server"].fix
    else:
        assert found["login"].found == "it reads contacts"


@pytest.mark.parametrize(
    ("off", "took", "level", "words"),
    [
        (0.0, 0.1, "ok", "agrees"),
        (4.9, 0.0, "ok", "agrees"),
        (-60.0, 0.0, "warning", "60 seconds behind"),
        (60.0, 130.0, "ok", "agrees"),  # a slow answer proves nothing
        (400.0, 1.0, "problem", "7 minutes ahead of"),
        (-3 * 86_400.0, 1.0, "problem", "3 days behind"),
    ],
)
def test_clocks_are_compared_within_what_the_question_took(off: float, took: float, level: str, words: str) -> None:
    found = clock("crm", NOW + took / 2 + off, NOW, NOW + took)
    assert found.level == level
    assert words in found.found


def test_errors_and_silence_of_one_check_are_findings(unique: str) -> None:
    never = Event()

    def refused() -> Iterator[Diagnosis]:
        yield Diagnosis("a", "first", "fine")
        raise AuthError("the password is wrong")

    def faulty() -> list[Diagnosis]:
        raise ZeroDivisionError(unique)

    def silent() -> list[Diagnosis]:
        never.wait()
        return []

    checks = [Check("a", "login", refused), Check("b", "fault", faulty), Check("c", "silence", silent)]
    began = time.monotonic()
    a, b, c = examine(checks, at_most=0.5)
    never.set()
    assert time.monotonic() - began < 5
    assert [(one.what, one.level) for one in a] == [("first", "ok"), ("login", "problem")]
    assert "ZeroDivisionError" in b[0].found
    assert c == [Diagnosis("c", "silence", "no answer within 0 s", "problem", "see whether the server is overloaded")]
