"""The ways back, as their pages tell them: each step is taken from the page and carried out on real servers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from sorbus.bus.kafka import admin
from sorbus.bus.names import Names
from sorbus.bus.registry import ConfluentRegistry
from sorbus.deadletter import DeadLetter
from sorbus.event import envelope_schema
from sorbus.ops.embedded import Addresses, Ports
from sorbus.ops.embedded.packages import fetch
from sorbus.ops.embedded.registry import RegistryServer
from sorbus.schema import parse_schema
from sorbus.settings import Settings
from tests.consumers.line import SORBUS, eventually, open_letters
from tests.replication_slots import drop_slots
from tests.topics import delete_topic

PAGES = Path(__file__).parents[2] / "docs" / "runbooks"
FLOW = "part-to-books"
MAP = """
topic_prefix: {prefix}.
systems:
  crm: {{kind: postgres, connection: {{dsn: "${{CRM_DSN}}"}}, owner: Sales, on_lost_slot: stop}}
  books: {{kind: postgres, connection: {{dsn: "${{BOOKS_DSN}}"}}, owner: Finance}}
data_types:
  part: {{system_of_record: crm, source: {{table: parts}}, partitions: 2}}
flows:
  - {{data_type: part, to: books, on_lost_events: stop, target: {{table: parts_there}}}}
"""
SCHEMA = """{"type": "record", "name": "part", "fields": [{"name": "name", "type": "string"}]}"""


class Company:
    """An owner and a target in databases of their own, and the processes between them."""

    def __init__(self, folder: Path, env: dict[str, str], prefix: str, crm: str, books: str, state: str) -> None:
        self.folder, self.prefix, self.books_dsn, self.state_dsn = folder, prefix, books, state
        (folder / "schemas").mkdir()
        (folder / "schemas" / "part.avsc").write_text(SCHEMA)
        self.map = folder / "map.yaml"
        self.map.write_text(MAP.format(prefix=prefix))
        own = {"CRM_DSN": crm, "BOOKS_DSN": books, "SORBUS_DATABASE": state, "SORBUS_MAP": str(self.map)}
        self.env = {**os.environ, **env, **own}
        self.settings = Settings(kafka=env["SORBUS_KAFKA"], registry=env["SORBUS_REGISTRY"])
        self.crm = psycopg.connect(crm, autocommit=True)
        self.crm.execute("create table parts (id int primary key, name text not null)")
        self.crm.execute("insert into parts select n, 'Part ' || n from generate_series(1, 40) n")
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def said(self, *arguments: str) -> str:
        """What a command prints, whatever its exit code."""
        done = subprocess.run([SORBUS, *arguments], env=self.env, cwd=self.folder, capture_output=True, text=True)
        return " ".join((done.stdout + done.stderr).split())

    def says(self, words: str, page: str, *, status: bool = True) -> None:
        """`sorbus doctor`, and `sorbus status` where it is told by then, name the situation and the page."""
        for command in ("doctor", "status") if status else ("doctor",):
            said = self.said(command)
            assert words in said, f"sorbus {command} doesn't say: {words}\n{said}"
            assert f"docs/runbooks/{page}.md" in said, f"sorbus {command} doesn't name the page\n{said}"

    def sorbus(self, *arguments: str) -> None:
        done = subprocess.run([SORBUS, *arguments], env=self.env, cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, f"sorbus {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"

    def start(self, *arguments: str) -> None:
        with (self.folder / f"{arguments[0]}.log").open("ab") as log:
            self.running[arguments[0]] = subprocess.Popen(
                [SORBUS, *arguments], env=self.env, cwd=self.folder, stdout=log, stderr=log
            )

    def stop(self, *names: str) -> None:
        for name in names or tuple(self.running):
            process = self.running.pop(name)
            process.terminate()
            process.wait(30)

    def refuses(self, *arguments: str) -> str:
        """Starts a process that must stop by itself, refused; what it said."""
        self.start(*arguments)
        log = self.folder / f"{arguments[0]}.log"
        eventually(lambda: "on_lost_" in log.read_text("utf-8"), f"that {arguments} says what to do", 60)
        self.stop(arguments[0])
        return log.read_text("utf-8")

    def change(self, word: str) -> None:
        """A row that comes, one that changes, one that goes."""
        self.crm.execute("update parts set name = %s where id %% 5 = 0", (word,))
        self.crm.execute("insert into parts select max(id) + 1, %s from parts", (word,))
        self.crm.execute("delete from parts where id = (select min(id) from parts)")

    def until_equal(self, seconds: float = 60, *, extra: bool = False) -> None:
        """`extra`: but for rows that only the target has, of which there must be some."""

        def rows(session: psycopg.Connection, table: str) -> list[tuple[object, ...]]:
            query = sql.SQL("select id::int, name from {} order by 1").format(sql.Identifier(table))
            return list(session.execute(query).fetchall())

        with psycopg.connect(self.books_dsn, autocommit=True) as books:

            def are_equal() -> bool:
                there, here = rows(books, "parts_there"), rows(self.crm, "parts")
                return set(there) > set(here) if extra else there == here

            eventually(
                are_equal,
                f"that owner and target are equal; {self.told()}",
                seconds,
            )

    def until_published(self) -> None:
        """Until the producer has read all that the owner has committed."""
        end = self.crm.execute("select pg_current_wal_lsn()").fetchone()
        query = (
            "select bool_and(confirmed_flush_lsn >= %s::pg_lsn) from pg_replication_slots"
            " where database = current_database()"
        )
        eventually(lambda: self.crm.execute(query, end).fetchone() == (True,), f"that all is published; {self.told()}")

    def until_noted(self) -> None:
        """Until the target has noted that it has all; Kafka's offsets follow that."""
        eventually(
            lambda: '"lag_records": 0,' in self.said("status", "--json"),
            f"that nothing is to be delivered; {self.told()}",
        )

    def letters(self) -> list[DeadLetter]:
        return open_letters(self.settings, Names(f"{self.prefix}."), ["part"])

    def told(self) -> str:
        return "\n".join(log.read_text("utf-8", errors="replace")[-1500:] for log in self.folder.glob("*.log"))

    def follow(self, page: str) -> None:
        """Carries the page's steps out; the last, a comparison, once owner and target are equal by SQL."""
        for step in steps_of(page):
            words = step.replace("FLOW", FLOW).replace("SYSTEM", "crm").split()
            if words[0] != "sorbus":
                key, _, wanted = step.partition(": ")
                text, count = re.subn(rf"{key}: \w+", f"{key}: {wanted}", self.map.read_text())
                assert count == 1, f"{page}: {step} is nowhere in the map"
                self.map.write_text(text)
            elif words[1] in ("produce", "consume"):
                if words[1] not in self.running:
                    self.start(*words[1:])
            else:
                if "--remove-extra" in words:
                    self.until_equal(extra=True)
                if words[1] == "reconcile":
                    self.until_equal()
                self.sorbus(*words[1:])


def steps_of(page: str) -> list[str]:
    """The lines of a page that are to be typed or written into the map."""
    text = (PAGES / f"{page}.md").read_text("utf-8")
    return [line.strip() for line in text.splitlines() if line.startswith("       ") and line.strip()]


@pytest.fixture
def company(tmp_path: Path, stack: Addresses, make_database: Callable[[], str], unique: str) -> Iterator[Company]:
    made = Company(tmp_path, stack.env(), unique, make_database(), make_database(), make_database())
    with ExitStack() as ending:
        ending.callback(made.crm.close)
        ending.callback(drop_slots, made.crm)
        ending.callback(made.stop)
        made.sorbus("apply", "--yes")
        made.start("produce", "crm")
        made.start("consume", FLOW)
        made.until_equal()
        yield made


def copied(dsn: str, name: str) -> None:
    """A copy of a database under another name, as a backup."""
    server, _, database = dsn.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as session:
        session.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (database,))
        make = sql.SQL("create database {} template {}")
        session.execute(make.format(sql.Identifier(name), sql.Identifier(database)))


def put_back(dsn: str, name: str) -> None:
    """The database as its copy is; the copy is gone."""
    server, _, database = dsn.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as session:
        session.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(database)))
        rename = sql.SQL("alter database {} rename to {}")
        session.execute(rename.format(sql.Identifier(name), sql.Identifier(database)))


@pytest.mark.parametrize("is_stopped", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_target_that_was_restored_is_brought_up_to_date(company: Company, *, is_stopped: bool) -> None:
    copied(company.books_dsn, f"backup_{company.prefix}")
    company.change("since the backup")
    company.until_equal()
    company.until_noted()
    if is_stopped:
        company.stop("consume")
    put_back(company.books_dsn, f"backup_{company.prefix}")
    if is_stopped:
        company.start("consume", FLOW)
    company.until_equal()  # by itself
    said = "was found in an earlier state"
    eventually(lambda: said in company.said("status"), f"that sorbus status says: the target {said}")
    company.follow("target-restored")


@pytest.mark.slow
def test_a_flow_whose_group_was_deleted_reads_all_again(company: Company) -> None:
    company.stop("consume")
    company.change("while its group was gone")
    group = Names(f"{company.prefix}.").group(FLOW)
    client = admin(company.settings)
    client.delete_consumer_groups([group])[group].result(30)
    company.says("its consumer group has no offsets", "consumer-group-deleted")
    company.follow("consumer-group-deleted")


@pytest.mark.slow
def test_a_dropped_slot_stops_the_producer_and_a_resnapshot_loses_nothing(company: Company) -> None:
    company.stop("produce")
    company.change("before the slot was dropped")
    drop_slots(company.crm)
    company.change("after the slot was dropped")
    company.says("is gone", "slot-dropped", status=False)
    assert "resnapshot" in company.refuses("produce", "crm")
    company.says("is gone", "slot-dropped")
    company.follow("slot-dropped")


@pytest.mark.slow
def test_a_lost_topic_is_filled_again_by_its_owner(company: Company) -> None:
    company.stop("consume")
    company.change("never delivered")
    company.until_published()  # the delete, too, goes down with the topic
    company.stop("produce")
    topic, client = Names(f"{company.prefix}.").topic("part"), admin(company.settings)
    delete_topic(client, topic)
    company.says(f"topic {topic} isn't there", "topic-lost")
    company.change("while there was no topic")
    company.follow("topic-lost")


@pytest.mark.slow
def test_flows_survive_the_restore_of_the_state(company: Company) -> None:
    company.stop()
    copied(company.state_dsn, f"backup_{company.prefix}")
    company.start("produce", "crm")
    company.start("consume", FLOW)
    company.change("since the backup")
    company.until_equal()
    company.stop()
    put_back(company.state_dsn, f"backup_{company.prefix}")
    company.change("while nothing ran")
    company.follow("state-restored")


class OwnRegistry:
    """A registry of this test alone, which loses its schemas and gives its ids out again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = RegistryServer(folder, fetch(), port=Ports.free().registry)
        self.address = self._server.address
        self.start()

    def start(self) -> None:
        self._server.start()
        self._server.wait()

    def stop(self) -> None:
        self._server.stop()

    def emptied(self) -> None:
        self.stop()
        shutil.rmtree(self._folder / "registry")
        self.start()


@pytest.fixture
def own_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRegistry]:
    made = OwnRegistry(tmp_path_factory.mktemp("registry"))
    yield made
    made.stop()


@pytest.mark.slow
def test_an_emptied_registry_costs_nothing(
    own_registry: OwnRegistry, tmp_path: Path, stack: Addresses, make_database: Callable[[], str], unique: str
) -> None:
    """Events that wait to be read keep their ids' meaning, though the registry gives those ids to other schemas."""
    env = {**stack.env(), "SORBUS_REGISTRY": own_registry.address}
    company = Company(tmp_path, env, unique, make_database(), make_database(), make_database())
    with ExitStack() as ending:
        ending.callback(company.crm.close)
        ending.callback(drop_slots, company.crm)
        ending.callback(company.stop)
        company.sorbus("apply", "--yes")
        company.start("produce", "crm")
        company.start("consume", FLOW)
        company.until_equal()
        company.stop("consume")
        company.change("waits with the first schema")
        company.until_published()
        company.stop("produce")
        own_registry.emptied()
        # Its first id, which those events bear, now stands for the same fields in another order.
        with_note = SCHEMA.replace('"fields": [', '"fields": [{"name": "note", "type": "string", "default": ""}, ')
        taken = envelope_schema(parse_schema(with_note)).text
        assert ConfluentRegistry(Settings(registry=own_registry.address)).register("others-value", taken) == 1
        assert "of 1 schemas that events were written with" in company.said("doctor")
        company.start("produce", "crm")
        company.change("written with the registry emptied")
        company.start("consume", FLOW)
        company.until_equal()
        company.follow("registry-emptied")
        own_registry.emptied()  # under running processes
        company.change("while both run")
        company.until_equal()
        company.follow("registry-emptied")
        own_registry.stop()
        company.stop("consume")
        company.change("without any registry")
        company.start("consume", FLOW)
        company.until_equal()
        own_registry.start()
    assert company.letters() == []
