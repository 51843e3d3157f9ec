"""Servers that go away and logins that are refused while everything runs: what status says, what is tried again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from sorbus.ops.embedded import Addresses
from tests.consumers.line import eventually
from tests.gateway import Gateway
from tests.ops.conftest import Sorbus

MAP = """
topic_prefix: {prefix}
systems:
  crm: {{kind: postgres, connection: {{dsn: "${{CRM_DSN}}"}}}}
  books: {{kind: postgres, connection: {{dsn: "${{BOOKS_DSN}}"}}}}
data_types:
  thing: {{system_of_record: crm, source: {{table: public.things}}}}
flows:
  - {{data_type: thing, to: books, target: {{table: copied_things}}}}
"""
SCHEMA = {
    "type": "record",
    "name": "thing",
    "fields": [{"name": "id", "type": "string"}, {"name": "name", "type": ["null", "string"], "default": None}],
}


@contextmanager
def _running(folder: Path, env: dict[str, str]) -> Iterator[Path]:
    log = folder / "up.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("sorbus")), "up", "--no-watch", "--base-port", "0"],
            cwd=folder,
            env={**os.environ, **env},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            yield log
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture
def gateways(stack: Addresses) -> Iterator[tuple[Gateway, Gateway]]:
    """To the source and to the target."""
    parts = urlsplit(stack.database)
    both = Gateway(parts.hostname or "", parts.port or 5432), Gateway(parts.hostname or "", parts.port or 5432)
    for each in both:
        each.open()
    yield both
    for each in both:
        each.close()


@pytest.mark.slow
def test_what_is_away_is_said_with_since_and_why_and_a_refused_login_is_not_repeated(
    sorbus: Sorbus,
    stack: Addresses,
    unique: str,
    make_database: Callable[[str], str],
    gateways: tuple[Gateway, Gateway],
    tmp_path: Path,
) -> None:
    source, target = gateways
    role = f"reader_{unique.strip('.').lower()}"
    crm = make_database(
        f"create table things (id int primary key, name text); insert into things values (1, 'a');"
        f" create role {role} superuser login replication"
    )
    books = make_database("")
    (tmp_path / "map.yaml").write_text(MAP.format(prefix=unique))
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "thing.avsc").write_text(json.dumps(SCHEMA))
    secrets = tmp_path / ".env"
    secrets.write_text(
        f"CRM_DSN=postgresql://{role}@127.0.0.1:{source.port}/{crm.rpartition('/')[2]}\n"
        f"BOOKS_DSN={books.rpartition('@')[0]}@127.0.0.1:{target.port}/{books.rpartition('/')[2]}\n"
    )
    env = {**stack.env(), "SORBUS_MAP": str(tmp_path / "map.yaml")}

    def status() -> dict[str, list[dict[str, object]]]:
        done = sorbus("status", "--json", **env)
        assert done.exit_code == 0, done.stderr
        found: dict[str, list[dict[str, object]]] = json.loads(done.stdout)
        return found

    def problem(kind: str, subject: str) -> dict[str, object] | None:
        return next((one for one in status()["problems"] if (one["kind"], one["subject"]) == (kind, subject)), None)

    applied = sorbus("apply", "--yes", **env)
    assert applied.exit_code in (0, 1), applied.stderr
    with psycopg.connect(crm, autocommit=True) as owner, _running(tmp_path, env) as log:
        try:
            eventually(lambda: status()["complaints"] == [], "it never ran well", 90)

            target.close()
            began = time.time()
            away = eventually(lambda: problem("system", "books"), "nobody said that the target is away", 45)
            assert away["what"] == "unreachable"
            assert "refused" in str(away["why"])
            assert abs(float(str(away["since"])) - began) < 20
            (flow,) = status()["flows"]
            assert flow["state"] == "unreachable"
            assert sorbus("status", "--check", **env).exit_code == 1
            target.open()
            eventually(lambda: status()["complaints"] == [], "it was not said that the target is back", 60)

            owner.execute(sql.SQL("alter role {} nologin").format(sql.Identifier(role)))
            source.close()
            source.open()
            stopped = eventually(lambda: problem("producer", "crm"), "nobody said that the producer has stopped", 45)
            assert stopped["what"] == "stopped"
            assert "not permitted to log in" in str(stopped["why"])
            tried = source.accepted
            time.sleep(12)  # what is to be shown is that nothing happens
            assert source.accepted == tried, "a refused login was tried again"
            assert status()["flows"][0]["state"] == "source stopped"

            owner.execute(sql.SQL("alter role {} login").format(sql.Identifier(role)))
            secrets.write_text(secrets.read_text() + "# given again\n")
            eventually(lambda: status()["complaints"] == [], "a login that was given again was not taken up", 60)
            owner.execute("insert into things values (2, 'b')")
            with psycopg.connect(books, autocommit=True) as reader:
                eventually(
                    lambda: reader.execute("select count(*) from copied_things").fetchone() == (2,),
                    "what changed afterwards did not arrive",
                )
        except AssertionError as error:
            raise AssertionError(f"{error}\n{log.read_text()[-6000:]}") from error
        finally:
            owner.execute(
                "select pg_terminate_backend(active_pid) from pg_replication_slots"
                " where active_pid is not null and database = current_database()"
            )
