"""One application, its real producer and consumer, and the merge, in any order: no echo, no loss, no loop.

Only Kafka is left out: what the producer gives out is taken by the merge at once, or lost before its commit.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from sorbus.abilities import Notice, PublishedState
from sorbus.avro.decode import read_record
from sorbus.connector import Batch, Position
from sorbus.consumers.http import two_way
from sorbus.consumers.http.consumer import HttpConsumer
from sorbus.errors import SorbusError
from sorbus.map.load import load_map
from sorbus.map.loaded import LoadedMap
from sorbus.ops.embedded import Addresses
from sorbus.ops.two_way.accept import accept_join
from sorbus.ops.two_way.join import JoinPlan
from sorbus.producers.http import own_states
from sorbus.producers.http.producer import HttpProducer
from sorbus.settings import Settings
from sorbus.state.database import State, migrate
from sorbus.two_way.merge import Merging, Proposal
from sorbus.two_way.merged_record import MergedRecord
from sorbus.two_way.options import MergeSource
from tests.acceptance.two_way_http import as_desk_keeps
from tests.consumers.gadgets import Writer
from tests.http_api.faulty import DESCRIBED, Faulty, serving
from tests.http_api.faulty_http import Fault
from tests.http_api.faulty_records import Record

NUMBER = {"type": "bytes", "logicalType": "decimal", "precision": 19, "scale": 4}
FIELDS = [
    {"name": "name", "type": "string"},
    {"name": "email", "type": ["null", "string"], "default": None},
    {"name": "rate", "type": ["null", NUMBER], "default": None},
]
HEAD = "Source System,Source Field,Target System,Target Field,Rule"
ROWS = [
    "canonical,customer.name,desk,contacts.name,",
    *(
        f"canonical,customer.{ours},desk,contacts.{theirs},"
        for ours, theirs in (("email", "email"), ("rate", "amount"))
    ),
    *(
        f"desk,contacts.{theirs},canonical,customer.{ours},"
        for ours, theirs in (("email", "email"), ("rate", "amount"))
    ),
    *(f"canonical,customer.{name},crm,customers.{name}," for name in ("email", "rate")),
]
PATHS = {"email": "email", "rate": "amount"}
IDS = ["C1", "C2"]
TABLES = ("crosswalk", "own_write", "own_state", "own_write_count", "merged_record", "system_view")


def map_of(folder: Path, of: Faulty, *, answers: bool) -> LoadedMap:
    contacts = {**DESCRIBED["resources"]["contacts"], "etag": True}
    if not answers:
        contacts["update"] = {**contacts["update"], "returns": "nothing"}
    of.describe(folder, resources={"contacts": contacts})
    for name, text in (("mappings/sheet.csv", "\n".join([HEAD, *ROWS])), ("schemas/customer.avsc", schema())):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    customer = {
        "system_of_record": "crm",
        "source": {"table": "customers", "key": ["id"]},
        "merge": {"email": "latest", "rate": "latest"},
        "clock_tolerance": "0s",
    }
    connection = {"api": "faulty.yaml", "base_url": of.base_url, "api_key": "${DESK_API_KEY}"}
    target = {"resource": "contacts"}
    written = {
        "topic_prefix": "echo.",
        "systems": {
            "crm": {"kind": "postgres", "connection": {"dsn": "${CRM}"}, "owner": "Sales"},
            "desk": {"kind": "http", "connection": connection, "owner": "Sales"},
        },
        "data_types": {"customer": customer},
        "flows": [
            {"data_type": "customer", "to": "desk", "direction": "two-way", "target": target, "on_duplicate": "create"}
        ],
    }
    (folder / "map.yaml").write_text(json.dumps(written), "utf-8")
    return load_map(folder / "map.yaml")


def schema() -> str:
    return json.dumps({"type": "record", "name": "customer", "fields": FIELDS})


class Line:
    """The application, Sorbus's two ends, and the merge between them."""

    def __init__(self, of: Faulty, loaded: LoadedMap, state: State) -> None:
        self.of, self.state, self.loaded = of, state, loaded
        self.system, self.sources = loaded.system("desk", "producer"), loaded.sources("desk")
        self.flow = loaded.flow("customer-to-desk")
        options = loaded.source("customer").options
        assert isinstance(options, MergeSource)
        self.merging = Merging(options.rules(), count(1).__next__)
        self.records = {id: MergedRecord(id.encode()) for id in IDS}
        self.shown, self.sent = Writer(self.sources[0].schema), Writer(self.flow.schema)
        self.frames: dict[str, bytes | None] = {}
        self.topic: dict[bytes, tuple[int, bytes | None]] = {}
        self.position: Position | None = None
        self.delivered: dict[str, int] = {}
        self.crm = count(1)
        self.restart_producer()
        self.consumer = HttpConsumer(self.flow, state)
        self.consumer.open()

    def restart_producer(self) -> None:
        if hasattr(self, "producer"):
            self.producer.close()
        self.producer = HttpProducer(self.system, self.sources)
        live = [PublishedState(id, version, 0, data) for id, (version, data) in self.topic.items() if data is not None]
        self.producer.remember(self.sources[0].name, live)
        self.producer.open(self.position)

    def restart_consumer(self) -> None:
        self.consumer.close()
        self.consumer = HttpConsumer(self.flow, self.state)
        self.consumer.open()

    def edit_at_crm(self, id: str, at: int, **fields: object) -> None:
        view = self.records[id].views.get("crm")
        values = dict((view.values if view else None) or {"name": id, "email": None, "rate": None}) | fields
        self.take(id, Proposal("crm", next(self.crm), at, values))

    def take(self, id: str, proposal: Proposal) -> None:
        record = self.records.get(id)
        if record is None:
            return  # nobody has linked it
        self.merging.take(record, proposal)
        if proposal.system == "desk":
            view = record.views["desk"]
            values = view.values
            self.frames[id] = None if values is None else self.shown.event(id, view.version, values)[0]
        self.state.run(
            b"insert into merged_record values ('customer', %s, %s, '', '', '{\"held\": []}', false, null)"
            b" on conflict (data_type, id) do update set version = excluded.version",
            (id, record.version),
        )
        if (desk := record.views.get("desk")) is not None:
            self.state.run(
                b"insert into system_view values ('customer', %s, 'desk', %s, %s, %s)"
                b" on conflict (data_type, id, system) do update set"
                b" version = excluded.version, knows = excluded.knows, frame = excluded.frame",
                (id, desk.version, desk.knows, self.frames.get(id)),
            )
        crm = record.views.get("crm")
        if crm is not None and record.values is not None and crm.values != record.values:  # the way back, at once
            values = dict(record.values)
            self.merging.take(record, Proposal("crm", next(self.crm), proposal.at, values, record.version))

    def poll(self, *, is_lost: bool = False) -> None:
        self.producer.list_anew()
        self._read(is_lost=is_lost)

    def hear(self, id: str) -> None:
        found = self.of.records.find("our_id", id)
        self.producer.hear([Notice("contacts", str(one["id"]), deleted=False, received_at=0) for one in found])
        self._read()

    def _read(self, *, is_lost: bool = False) -> None:
        idle = 0
        while idle < 2:
            try:
                batch = self.producer.read(0.05)
            except SorbusError:
                continue
            idle = idle + 1 if batch is None or batch.caught_up else 0
            if batch is not None and is_lost:
                self.restart_producer()
                return
            if batch is not None:
                self._publish(batch)

    def _publish(self, batch: Batch) -> None:
        for change in batch.changes:
            before = self.topic.get(change.id, (0, None))[0]
            assert change.version > before, f"{change.id!r} has version {change.version} after {before}"
            self.topic[change.id] = change.version, change.data
            values = None if change.data is None else read_record(self.sources[0].schema, change.data, 0)[0]
            brought = batch.delivered.get((change.data_type, change.id, change.version))
            proposal = Proposal("desk", change.version, change.occurred_at, values, brought)
            self.take(change.id.decode(), proposal)
        self.position = batch.position
        self.producer.confirm(batch.position)

    def deliver(self) -> None:
        due = [
            self.sent.delivery(id, record.version, {**record.values, "name": id})
            for id, record in self.records.items()
            if record.values is not None and self.delivered.get(id, 0) < record.version
        ]
        if not due:
            return
        try:
            refused = self.consumer.apply(due)
        except SorbusError:
            return
        for place, one in enumerate(due):
            if place not in {each.place for each in refused}:
                self.delivered[one.id.decode()] = one.version

    def settle(self) -> None:
        for _ in range(40):
            before = {id: record.version for id, record in self.records.items()}
            self.deliver()
            self.poll()
            is_done = all(
                self.delivered.get(id, 0) >= record.version for id, record in self.records.items() if record.values
            )
            if is_done and before == {id: record.version for id, record in self.records.items()}:
                return
        pytest.fail(f"it doesn't come to rest: {self.records}; {self.of.writes[-6:]}", pytrace=False)

    def close(self) -> None:
        self.producer.close()
        self.consumer.close()


VALUES = {
    "email": st.sampled_from(["a@X", "b@X", " c@x ", "d@x"]),
    "rate": st.sampled_from(["1.2345", "2.5", "0.1", "3"]),
}
EDIT = st.sampled_from(sorted(VALUES)).flatmap(lambda name: st.tuples(st.just(name), VALUES[name]))


class Machine(RuleBasedStateMachine):
    make: Callable[[bool], tuple[Line, ExitStack]]

    @initialize(answers=st.booleans())
    def begin(self, answers: bool) -> None:
        self.line, self.stack = self.make(answers)
        self.said: dict[tuple[str, str], list[tuple[str, object]]] = {}
        for id in IDS:
            self.line.edit_at_crm(id, 1)

    def told(self, id: str, system: str, name: str, value: object) -> None:
        self.said.setdefault((id, name), []).append((system, value))

    @rule(id=st.sampled_from(IDS), edit=EDIT)
    def somebody_edits_in_the_crm(self, id: str, edit: tuple[str, str]) -> None:
        name, text = edit
        value: object = Decimal(text).quantize(Decimal("0.0001")) if name == "rate" else text
        if (self.line.records[id].values or {}).get(name) == value:
            return
        self.line.edit_at_crm(id, int(self.line.of.records.now().timestamp() * 1_000_000), **{name: value})
        self.told(id, "crm", name, value)

    @rule(id=st.sampled_from(IDS), edit=EDIT)
    def somebody_edits_in_the_application(self, id: str, edit: tuple[str, str]) -> None:
        self.edit_there(id, *edit)

    def edit_there(self, id: str, name: str, text: str) -> None:
        found = self.line.of.records.find("our_id", id)
        if not found:
            return
        before, path = found[0][PATHS[name]], PATHS[name]
        self.line.of.change(str(found[0]["id"]), **{path: text})
        after = self.line.of.records.find("our_id", id)[0][path]
        if after != before:
            value: object = Decimal(after).quantize(Decimal("0.0001")) if name == "rate" else after
            self.told(id, "desk", name, value)

    @rule()
    def it_is_polled(self) -> None:
        self.line.poll()

    @rule()
    def what_was_polled_is_lost_before_its_commit(self) -> None:
        self.line.poll(is_lost=True)

    @rule(id=st.sampled_from(IDS))
    def a_webhook_tells_of_it(self, id: str) -> None:
        self.line.hear(id)

    @rule()
    def it_is_delivered(self) -> None:
        self.line.deliver()

    @rule(fault=st.sampled_from(["reset", "reset-after", "cut", "empty", "500"]))
    def an_update_fails(self, fault: Fault) -> None:
        self.line.of.script("PATCH", "/contacts", fault)
        self.line.deliver()

    @rule(fault=st.sampled_from(["reset", "reset-after", "cut"]))
    def a_creation_fails(self, fault: Fault) -> None:
        self.line.of.script("POST", "/contacts", fault)
        self.line.deliver()

    @rule(method=st.sampled_from(["GET", "PATCH"]), id=st.sampled_from(IDS), edit=EDIT)
    def somebody_edits_between_two_requests_of_a_delivery(self, method: str, id: str, edit: tuple[str, str]) -> None:
        times = count()

        def before(asked: str, path: str, _: dict[str, str]) -> None:
            if asked == method and path.startswith("/contacts/") and next(times) == 0:
                self.edit_there(id, *edit)

        self.line.of.before = before
        self.line.deliver()
        self.line.of.before = None

    @rule()
    def the_consumer_dies(self) -> None:
        self.line.restart_consumer()

    @rule()
    def the_producer_dies(self) -> None:
        self.line.restart_producer()

    @rule(lag=st.sampled_from([0.0, 0.3]))
    def lists_lag(self, lag: float) -> None:
        self.line.of.lists_lag = lag

    @rule(id=st.sampled_from(IDS))
    def it_is_deleted_in_the_application(self, id: str) -> None:
        # What was changed and deleted before a list showed it, no poll sees.
        lag, self.line.of.lists_lag = self.line.of.lists_lag, 0.0
        self.line.poll()
        self.line.of.lists_lag = lag
        if found := self.line.of.records.find("our_id", id):
            self.line.of.remove(str(found[0]["id"]))

    def teardown(self) -> None:
        if not hasattr(self, "stack"):
            return
        with self.stack:
            self.line.of.unscript()
            self.line.of.lists_lag = 0.0
            self.line.settle()
            versions, writes = {id: one.version for id, one in self.line.records.items()}, len(self.line.of.writes)
            for _ in range(2):
                self.line.poll()
                self.line.deliver()
            assert versions == {id: one.version for id, one in self.line.records.items()}, "it loops"
            assert writes == len(self.line.of.writes), "something is written that is there"
            self.agree()

    def agree(self) -> None:
        for id, record in self.line.records.items():
            (there,) = self.line.of.records.find("our_id", id)
            values = cast("dict[str, object]", record.values)
            kept = as_desk_keeps(
                {"email": values["email"], "amount": None if values["rate"] is None else str(values["rate"])}
            )
            assert there["email"] == kept["email"], (id, values, there)
            assert (there["amount"] is None) == (kept["amount"] is None), (id, values, there)
            assert kept["amount"] is None or Decimal(there["amount"]) == Decimal(kept["amount"]), (id, values, there)
            for name in PATHS:
                said = self.said.get((id, name), [])
                # An earlier change of the application's may win: its time is that of the record's last change.
                right = [value for _, value in said[-1:]] or [None]
                if said and said[-1][0] == "crm":
                    right += [value for system, value in said if system == "desk"][-1:]
                assert values[name] in right, f"{id}: {name} is {values[name]!r}; people said {said}"


@pytest.fixture
def lines(
    stack: Addresses, make_database: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[bool], tuple[Line, ExitStack]]]:
    """Makes a line with an application of its own, on an empty state."""
    dsn = make_database("")
    monkeypatch.setattr(two_way, "_GRACE", 0.05)
    monkeypatch.setattr(two_way, "_LOOK_EVERY", 0.0)
    monkeypatch.setattr(own_states, "_LATER", 0.05)
    for name, value in (("DATABASE", dsn), ("KAFKA", stack.kafka), ("REGISTRY", "")):
        monkeypatch.setenv(f"SORBUS_{name}", value)
    monkeypatch.setenv("CRM", "postgresql://nobody@127.0.0.1:1/none")
    state = State.of("echo.")
    migrate(state)
    number = count()
    lock = threading.Lock()

    def make(answers: bool) -> tuple[Line, ExitStack]:
        with lock, ExitStack() as inner:
            of = inner.enter_context(serving(next(number)))
            of.records.keeps, of.records.resolution = as_desk_keeps, 0.0
            monkeypatch.setenv("DESK_API_KEY", of.api_key)
            for table in TABLES:
                state.run(f"delete from {table}".encode())
            folder = tmp_path / str(next(number))
            folder.mkdir()
            line = Line(of, map_of(folder, of, answers=answers), state)
            inner.callback(line.close)
            return line, inner.pop_all()

    yield make
    with suppress(SorbusError):
        state.close()


@pytest.mark.parametrize(
    ("examples", "steps"),
    [pytest.param(3, 12, id="a few"), pytest.param(60, 25, id="many", marks=pytest.mark.slow)],
)
def test_no_order_of_edits_polls_deliveries_and_failures_echoes_or_loses_a_change(
    lines: Callable[[bool], tuple[Line, ExitStack]], examples: int, steps: int
) -> None:
    made = type("MachineOfThisTest", (Machine,), {"make": staticmethod(lines)})
    run_state_machine_as_test(
        made,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=examples < 10,
        ),
    )


@pytest.fixture
def line(lines: Callable[[bool], tuple[Line, ExitStack]]) -> Iterator[Line]:
    """C1 is in the application, which answers an update with nothing."""
    made, stack = lines(False)
    with stack:
        made.edit_at_crm("C1", 1, rate=Decimal("1.2345"))
        made.settle()
        yield made


def there(line: Line) -> Record:
    (found,) = line.of.records.find("our_id", "C1")
    return found


def values(line: Line) -> dict[str, object]:
    return cast("dict[str, object]", line.records["C1"].values)


def test_nothing_is_written_over_a_change_that_no_poll_has_seen(line: Line) -> None:
    line.of.change(str(there(line)["id"]), email="b@x")
    line.edit_at_crm("C1", 2, rate=Decimal("2.5000"))
    line.deliver()
    assert there(line)["email"] == "b@x"
    line.settle()
    assert (values(line)["email"], there(line)["email"], there(line)["amount"]) == ("b@x", "b@x", "2.50")


@pytest.mark.parametrize("fault", ["reset-after", "reset"])
def test_a_write_without_an_answer_is_told_from_a_change_made_before_it_was_looked_for(
    line: Line, fault: Fault
) -> None:
    line.edit_at_crm("C1", 2, rate=Decimal("3.1234"))
    line.of.script("PATCH", "/contacts", fault)
    begun = len(line.of.asked)

    def before(method: str, path: str, _: dict[str, str]) -> None:
        if method == "GET" and any(one.method == "PATCH" for one in line.of.asked[begun:]):
            line.of.before = None
            line.of.change(str(there(line)["id"]), amount="7.5")

    line.of.before = before
    line.deliver()
    assert line.of.before is None, "nobody looked what became of the write"
    line.restart_consumer()
    line.settle()
    assert (values(line)["rate"], there(line)["amount"]) == (Decimal("7.5000"), "7.50")


def test_a_change_found_under_a_write_without_an_answer_has_its_own_time(line: Line) -> None:
    """And so counts more than one that was made elsewhere a minute before it."""
    line.edit_at_crm("C1", 2, rate=Decimal("3.1234"))
    line.of.script("PATCH", "/contacts", "reset")
    records, begun = line.of.records, len(line.of.asked)

    def before(method: str, path: str, _: dict[str, str]) -> None:
        if method == "GET" and any(one.method == "PATCH" for one in line.of.asked[begun:]):
            line.of.before = None
            records.clock_is_off += timedelta(hours=1)
            line.of.change(str(there(line)["id"]), amount="7.5")
            records.clock_is_off += timedelta(minutes=1)

    line.of.before = before
    line.deliver()
    assert line.of.before is None, "nobody looked what became of the write"
    before_it = int((records.now() - timedelta(minutes=2)).timestamp() * 1_000_000)
    line.edit_at_crm("C1", before_it, rate=Decimal("4.0000"))
    line.settle()
    assert (values(line)["rate"], there(line)["amount"]) == (Decimal("7.5000"), "7.50")


def test_the_application_s_own_form_of_a_write_without_an_answer_is_no_change(line: Line) -> None:
    line.edit_at_crm("C1", 2, rate=Decimal("3.1234"))
    line.of.script("PATCH", "/contacts", "reset-after")
    line.deliver()
    line.poll()
    line.restart_producer()
    line.settle()
    assert (values(line)["rate"], there(line)["amount"]) == (Decimal("3.1234"), "3.12")


def test_a_page_of_before_our_write_is_no_change(line: Line) -> None:
    line.edit_at_crm("C1", 2, rate=Decimal("3.1234"))
    line.of.lists_lag = 60.0
    line.deliver()
    line.poll()
    line.hear("C1")
    assert values(line)["rate"] == Decimal("3.1234")
    assert line.records["C1"].origins["rate"].system == "crm"


def test_a_page_that_is_read_while_a_write_is_on_its_way_is_no_change(line: Line) -> None:
    line.edit_at_crm("C1", 2, rate=Decimal("3.1234"))

    def before(method: str, path: str, _: dict[str, str]) -> None:
        if method == "GET" and path.startswith("/contacts/") and there(line)["amount"] == "3.12":
            line.of.before = None
            line.poll()  # the application has it, and nothing is noted of it yet

    line.of.before = before
    line.deliver()
    line.of.before = None
    line.settle()
    assert values(line)["rate"] == Decimal("3.1234")
    assert line.records["C1"].origins["rate"].system == "crm"


def test_after_joining_again_a_record_is_written_whose_topic_lost_that_it_showed_our_last_write(line: Line) -> None:
    """A person's change came over it, and Kafka compacted it away."""
    line.edit_at_crm("C1", 2, email="b@x")
    line.settle()
    line.of.change(str(there(line)["id"]), email="c@x")
    line.poll()
    accept_join(line.loaded, Settings(), JoinPlan("customer", "crm", frozenset({b"C1", b"C2"}), {}), "ada", again=True)
    line.records["C1"].views["desk"].knows = 0
    line.edit_at_crm("C1", 3, rate=Decimal("9.0000"))
    line.settle()
    assert (there(line)["email"], there(line)["amount"]) == ("c@x", "9.00")
