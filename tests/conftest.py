"""What all tests share: one embedded stack per run, started when the first test asks for it, whatever the workers."""

from __future__ import annotations

import gc
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from sorbus.ops.embedded import Addresses
from sorbus.ops.embedded.shared import join, own
from sorbus.state import State, migrate
from tests import postgres_version
from tests.databases import new_database
from tests.http_api.faulty import Faulty, serving
from tests.sooner import sooner

_FOLDER = "SORBUS_TEST_STACK"
_run = ExitStack()
Report = Callable[[str], None]

_LONG = tuple(
    f"tests/{name}"
    for name in (
        "privacy/", "acceptance/", "producers/http/test_one", "ops/console/test_browser", "producers/http/test_fuzz",
        "consumers/test_isolation", "mapping/test_own", "consumers/test_loop.py::test_kill", "conformance/test_example",
        "producers/http/test_held", "consumers/http/test_killed", "postgres/test_every_type", "ops/test_alerts",
        "producers/postgres/test_keys_that_move", "producers/http/test_producer", "consumers/http/test_conflicts",
    )
)  # fmt: skip

# How long one example takes says more of who else uses the machine than of the code.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


def pytest_configure(config: pytest.Config) -> None:
    """Own the run's stack in the process that outlives all others: pytest itself, or the controller of its workers."""
    if not hasattr(config, "workerinput") and _FOLDER not in os.environ:  # set: somebody keeps a stack for many runs
        os.environ[_FOLDER] = str(_run.enter_context(own()))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the stack, if any test had it started."""
    if not hasattr(config, "workerinput"):
        _run.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes longest begins first, spread over the workers: `--dist worksteal` gives each a run of neighbours."""
    workers = int(getattr(config, "workerinput", {}).get("workercount", 1))
    long = [item for item in items if item.nodeid.startswith(_LONG)]
    short = iter([item for item in items if not item.nodeid.startswith(_LONG)])
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        mine = long[worker::workers]
        share = (len(items) - len(ordered)) // (workers - worker)
        ordered += [*mine, *islice(short, max(0, share - len(mine)))]
    items[:] = [*ordered, *short]


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was collected stays until the end: the garbage collector need not walk over it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def stack() -> Iterator[Addresses]:
    """A real Kafka, registry and PostgreSQL, shared by the whole run: use `unique` names in it.

    With SORBUS_TEST_POSTGRES the PostgreSQL is another one, of the version that it names.
    """
    shared = join(Path(os.environ[_FOLDER]))
    if not os.environ.get(postgres_version.NAME):
        yield shared
        return
    with postgres_version.serving() as database:
        yield replace(shared, database=database)


@pytest.fixture(scope="session")
def server_version(stack: Addresses) -> int:
    """The major version of the stack's PostgreSQL, for tests of what only newer servers have."""
    with psycopg.connect(stack.database) as connection:
        return connection.info.server_version // 10_000


@pytest.fixture
def unique() -> str:
    """A prefix for names (topics, groups, subjects, slots) that no other test uses: letters, digits, underscores."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def make_database(stack: Addresses) -> Callable[[str], str]:
    """Makes an empty database of this test's own, runs `sql` in it, and returns how to connect."""

    def make(script: str = "") -> str:
        dsn = new_database(stack.database)
        if script:
            with psycopg.connect(dsn) as connection:
                connection.execute(script.encode())
        return dsn

    return make


@pytest.fixture(scope="session")
def with_state(stack: Addresses) -> str:
    """The name of a database that holds Sorbus's own state, to be copied: that takes half as long as to migrate."""
    dsn = new_database(stack.database)
    opened = State(dsn)
    migrate(opened)
    opened.close()
    return dsn.rpartition("/")[2]


@pytest.fixture
def database(request: pytest.FixtureRequest, stack: Addresses, make_database: Callable[[str], str]) -> str:
    """A database of this test's own: empty, or with Sorbus's state where the test asks for `state` too."""
    if "state" not in request.fixturenames:
        return make_database("")
    return new_database(stack.database, request.getfixturevalue("with_state"))


@pytest.fixture(scope="session", autouse=True)
def loops_look_sooner() -> Iterator[None]:
    """Loops in the tests' own process look and try again more often; a test may still set how often."""
    with sooner():
        yield


@pytest.fixture
def faulty() -> Iterator[Faulty]:
    """An HTTP application that breaks as it is told to (its docstring says how)."""
    with serving() as found:
        yield found


@pytest.fixture
def state(database: str) -> Iterator[State]:
    """Sorbus's own state, made, in a database of this test's own."""
    opened = State(database)
    migrate(opened)
    yield opened
    opened.close()


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Report:
    """Says a figure on the terminal, also when the test passes."""

    def say(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{line}\n")

    return say
