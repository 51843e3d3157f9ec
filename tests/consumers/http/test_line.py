"""The HTTP consumer in the loop, with the commands around it: dead letters, decisions, replay, preview, rate limits."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sorbus.abilities import Preview
from sorbus.bus.newest import newest
from sorbus.consumers.http.consumer import HttpConsumer
from sorbus.dlq.requeue import Sender
from sorbus.identity.candidates import Candidates, Decision
from sorbus.identity.crosswalk import Crosswalk
from sorbus.ops.embedded import Addresses
from sorbus.state.database import migrate
from tests.consumers.line import FLOW, Line, Running, eventually, named
from tests.http_api.faulty import Faulty

MAP = """
topic_prefix: {prefix}.
systems:
  crm: {{kind: postgres, connection: {{dsn: "${{CRM_DSN}}"}}, owner: Sales}}
  books:
    kind: http
    connection: {{api: faulty.yaml, base_url: "{base_url}", api_key: "${{BOOKS_KEY}}", limits: {limits}}}
    owner: Finance
data_types:
  gadget: {{system_of_record: crm, source: {{table: gadgets}}, match: [name], partitions: 2}}
flows:
  - {{data_type: gadget, to: books, target: {{resource: contacts}}}}
"""
SHEET = """Source System,Source Field,Target System,Target Field,Rule,Notes
canonical,gadget.name,books,contacts.name,,
canonical,gadget.note,books,contacts.city,,
"""
KEY = "key-that-nobody-may-see"


class HttpLine(Line):
    """A map with one flow into a faulty application."""

    def __init__(
        self, folder: Path, dsn: str, stack_env: dict[str, str], prefix: str, faulty: Faulty, limits: str
    ) -> None:
        self.faulty, self._limits = faulty, limits
        faulty.auth, faulty.api_key = "key", KEY
        env = {**stack_env, "SORBUS_DATABASE": dsn, "BOOKS_KEY": KEY}
        super().__init__(folder, dsn, env, prefix, registry=True, timing="real-time")

    def write_map(self, text: str, prefix: str) -> None:
        self.faulty.describe(self.folder)
        text = MAP.format(prefix=prefix, base_url=self.faulty.base_url, limits=self._limits)
        (self.folder / "map.yaml").write_text(text)
        (self.folder / "mappings").mkdir()
        (self.folder / "mappings" / "books.csv").write_text(SHEET)

    def make_target(self) -> None:
        for step in HttpConsumer.plan(self.flow):
            assert step.apply is not None
            step.apply()
        assert HttpConsumer.plan(self.flow) == []

    @contextmanager
    def delivering(self) -> Iterator[Running]:
        """The loop in a thread while the block lasts."""
        with self.consuming(make=lambda: HttpConsumer(self.flow)) as running:
            yield running

    def until_there(self, names: set[str]) -> None:
        eventually(lambda: set(self.faulty.contacts("name")) == names, f"just {sorted(names)} in the application")

    def preview(self, id: str) -> Preview:
        delivery = newest(self.settings, self.flow, id)
        assert delivery is not None
        consumer = HttpConsumer(self.flow)
        consumer.open()
        try:
            return consumer.preview(delivery)
        finally:
            consumer.close()


@pytest.fixture
def make_http_line(
    tmp_path: Path,
    stack: Addresses,
    make_database: Callable[[], str],
    unique: str,
    faulty: Faulty,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., HttpLine]]:
    lines: list[HttpLine] = []

    def make(limits: str = "null") -> HttpLine:
        dsn = make_database()
        for name in ("CRM_DSN", "BOOKS_DSN", "SORBUS_DATABASE"):
            monkeypatch.setenv(name, dsn)
        monkeypatch.setenv("BOOKS_KEY", KEY)
        lines.append(HttpLine(tmp_path, dsn, dict(stack.env()), unique, faulty, limits))
        return lines[-1]

    yield make
    for line in lines:
        line.close()


def test_a_duplicate_is_a_dead_letter_until_a_person_has_decided(make_http_line: Callable[..., HttpLine]) -> None:
    line = make_http_line()
    line.faulty.add_many([{"name": "Twin", "city": "A"}, {"name": "Twin", "city": "B"}])
    with line.delivering():
        line.publish([("g1", 1, named("One")), ("g2", 1, named("Twin")), ("g3", 1, named("Three"))])
        line.until_there({"One", "Twin", "Three"})
        (letter,) = line.until_letters(1)
        assert (letter.reason, letter.record_id) == ("duplicate", b"g2")
        candidates = Candidates(line.state, "books", "gadget")
        (asked,) = candidates.open()
        candidates.decide(asked.number, Decision("link", "2"), who="Finance", reason="seen")
        Sender(line.settings, line.names).requeue([letter])
        line.until_letters(0)
    assert {(one["id"], one["city"], one["our_id"]) for one in line.faulty.contacts().values() if one["id"] < 3} == {
        (1, "A", None),
        (2, None, "g2"),
    }


def test_preview_shows_what_would_be_sent_and_sends_nothing(make_http_line: Callable[..., HttpLine]) -> None:
    line = make_http_line()
    line.faulty.add_many([{"name": "There"}, {"name": "Twin"}, {"name": "Twin"}])
    with line.delivering():
        line.publish([("g1", 1, named("One"))])
        line.until_there({"There", "Twin", "One"})
        line.publish([("g2", 1, named("Gone"))])
        line.until_there({"There", "Twin", "One", "Gone"})
    line.publish([("g1", 2, named("One changed")), ("g2", 2, None), ("g3", 1, named("New"))])
    line.publish([("g4", 1, named("There")), ("g5", 1, named("Twin"))])
    writes = len(line.faulty.writes)
    shown = {id: line.preview(id) for id in ("g2", "g3", "g4", "g5")}
    assert {id: one.action for id, one in shown.items()} == {"g2": "delete", "g3": "create", "g4": "link", "g5": "ask"}
    create = shown["g3"].request
    assert isinstance(create, dict)
    assert create["json"] == {"contact": {"name": "New", "our_id": "g3"}}
    assert "same name" in shown["g4"].why
    told = line.sorbus("preview", FLOW, "g1", "--json")
    assert json.loads(told) == {
        "flow": FLOW,
        "id": "g1",
        "action": "update",
        "why": "contacts 4: it differs from its owner's",
        "request": {
            "method": "PATCH",
            "path": "/contacts/4",
            "json": {"contact": {"name": "One changed"}},
            "changes": {"name": ["One", "One changed"]},
        },
    }
    told += line.sorbus("preview", FLOW, "g5", status=1) + line.sorbus("preview", FLOW, "g9", status=1)
    assert "ask: 2 records have the same name" in told
    assert "no event of it" in told
    assert KEY not in told
    assert len(line.faulty.writes) == writes


def test_a_replay_repairs_the_application(make_http_line: Callable[..., HttpLine]) -> None:
    line = make_http_line()
    with line.delivering():
        line.publish((f"g{n}", 1, named(f"N {n}")) for n in range(30))
        line.until_there({f"N {n}" for n in range(30)})
    line.faulty.change("3", name="Wrong")
    line.faulty.remove("4")
    done = json.loads(line.sorbus("replay", FLOW, "--json"))
    assert (done["events"], done["applied"], done["refused"], done["waiting"]) == (30, 30, 0, 0)
    assert set(line.faulty.contacts("name")) == {f"N {n}" for n in range(30)}
    assert len([one for one in line.faulty.asked if one.method == "PATCH"]) == 1
    assert line.faulty.doubles("name") == {}


def test_a_rate_limit_is_no_trouble(make_http_line: Callable[..., HttpLine]) -> None:
    line = make_http_line("[{requests: 12, per: 1s}]")
    line.faulty.limits = [(12, 1.0)]
    line.publish((f"g{n}", 1, named(f"N {n}")) for n in range(40))
    troubles: set[str | None] = set()
    with line.delivering() as running:
        eventually(lambda: running.health.waiting() is None, "readiness")

        def there() -> bool:
            troubles.add(running.health.waiting())
            return len(line.faulty.records) == 40

        eventually(there, "forty contacts", seconds=60)
    # Where the server counts by its own clock, on a machine that others use, one in twenty may be early.
    assert [trouble for trouble in troubles if trouble and "answers 429" not in trouble] == []
    assert line.faulty.too_many <= len(line.faulty.asked) / 20
    assert line.letters() == []


@pytest.mark.slow
def test_sigterm_stops_within_ten_seconds_while_the_application_does_not_answer(
    make_http_line: Callable[..., HttpLine],
) -> None:
    line = make_http_line()
    arrived = threading.Event()
    line.faulty.describe(line.folder, timeout=60)
    line.faulty.hold = 60
    line.faulty.before = lambda method, path, parameters: arrived.set() if method == "POST" else None
    line.faulty.script("POST", "/contacts", "timeout-after")
    line.publish([("g1", 1, named("One"))])
    with line.process() as process:
        assert arrived.wait(40), process.told
        # The thread that asks can't be called back: the process ends beside it, as on a second signal.
        assert process.end() == 128 + signal.SIGTERM
    line.publish([("g2", 1, named("Two"))])
    with line.process("again") as process:
        line.until_there({"One", "Two"})
        assert process.end() == 0
    assert [write.did for write in line.faulty.writes].count("create") == 2


@pytest.mark.parametrize("records", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_replay_where_all_is_equal_writes_nothing(make_http_line: Callable[..., HttpLine], records: int) -> None:
    line = make_http_line()
    migrate(line.state)
    line.publish((f"g{n}", version, named(f"n{n} {version}")) for version in (1, 2) for n in range(records))
    there = line.faulty.add_many({"name": f"n{n} 2", "our_id": f"g{n}"} for n in range(records))
    crosswalk = Crosswalk(line.state, "books", "gadget", "contacts")
    for n, external_id in enumerate(there):
        crosswalk.link(f"g{n}", external_id, 2, {"name": f"n{n} 2", "city": None})
    asked = len(line.faulty.asked)
    seen = json.loads(line.sorbus("replay", FLOW, "--dry-run", "--json"))
    assert (seen["records"], seen["actions"]) == (records, {"nothing": min(records, 1000)})
    done = json.loads(line.sorbus("replay", FLOW, "--json"))
    assert (done["records"], done["applied"], done["refused"]) == (records, records, 0)
    assert {one.method for one in line.faulty.asked[asked:]} <= {"GET"}
