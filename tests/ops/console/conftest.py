"""The console as it runs, on a port of its own, with a real Kafka and PostgreSQL behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from playwright.sync_api import Browser, Page

from sorbus.map.load import load_map
from sorbus.map.loaded import LoadedMap
from sorbus.ops.console.access import passwords
from sorbus.ops.console.access.authenticators import Authenticator, NoAuth
from sorbus.ops.decisions.kind import DecisionKind
from sorbus.ops.decisions.registry import DECISION_KINDS
from sorbus.ops.embedded import Addresses
from sorbus.settings import Settings
from sorbus.state import State
from tests.ops.console.browser import is_complaint, opened
from tests.ops.console.visitor import Served, serving

MAP = """
company: Larkspur
topic_prefix: {prefix}
systems:
  crm:
    kind: postgres
    connection: {{dsn: "{dsn}"}}
    owner: "Sales operations <sales@example.com>"
    notes: "<img src=x onerror=alert(1)>"
  accounting: {{kind: postgres, connection: {{dsn: "{dsn}"}}, owner: "Finance <finance@example.com>"}}
  plan: {{kind: postgres, connection: {{dsn: "{dsn}"}}, shadow: true}}
data_types:
  customer: {{system_of_record: crm, source: {{table: public.customers}}}}
flows:
  - {{data_type: customer, to: accounting, target: {{table: debtors}}}}
  - data_type: customer
    to: plan
    manual: {{checklist: [copy], schedule: weekly, responsible: Finance, verification: count the rows}}
"""
SHEET = """Source System,Source Field,Target System,Target Field,Rule,Notes
crm,customers.name,canonical,customer.name,value,
canonical,customer.name,accounting,debtors.name,value,
"""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever uses the browser can be left out by name."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real browser; failing with the fix where there is none. Not longer: it keeps an event loop in this thread."""
    with opened() as found:
        yield found


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page whose browser has nothing to complain about: no script failed, nothing was forbidden.

    But what a live part asks at the moment of a logout is rightly refused (401).
    """
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    made = context.new_page()
    complaints: list[str] = []
    made.on("console", lambda said: complaints.append(f"{made.url}: {said.text}") if is_complaint(said) else None)
    made.on("pageerror", lambda error: complaints.append(f"{made.url}: {error}"))
    yield made
    context.close()
    assert complaints == []


Serve = Callable[..., Served]


@pytest.fixture
def loaded(tmp_path: Path, unique: str, database: str) -> LoadedMap:
    """A small company: one flow that runs and one by hand."""
    return write_map(tmp_path, unique, database)


def write_map(folder: Path, prefix: str, dsn: str) -> LoadedMap:
    """The small company's map with its sheet, in a folder of its own."""
    (folder / "map.yaml").write_text(MAP.format(prefix=f"{prefix}.", dsn=dsn))
    (folder / "mappings").mkdir()
    (folder / "mappings" / "customers.csv").write_text(SHEET)
    return load_map(folder / "map.yaml")


@pytest.fixture
def serve(
    loaded: LoadedMap, stack: Addresses, state: State, database: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Serve]:
    """Opens the console, `serve(authenticator=..., url=...)`; closed after the test."""
    monkeypatch.setenv("SORBUS_DATABASE", database)
    with ExitStack() as opened:

        def start(
            authenticator: Authenticator | None = None,
            url: str = "",
            proxies: Sequence[str] = (),
            kinds: Sequence[DecisionKind] = DECISION_KINDS,
        ) -> Served:
            settings = Settings(kafka=stack.kafka, registry=stack.registry, database=database)
            return opened.enter_context(
                serving(loaded, settings, state, authenticator or NoAuth(), url, proxies, kinds)
            )

        yield start


@pytest.fixture
def console(serve: Serve) -> Served:
    """The console on the loopback address, where nobody is asked."""
    return serve()


@pytest.fixture(autouse=True, scope="module")
def cheap_passwords() -> Iterator[None]:
    """Passwords are hashed with little work: what a guess costs is argon2's to show, not ours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", cache(lambda: PasswordHasher(time_cost=1, memory_cost=1024)))
        yield
