"""The loop against a real Kafka: offsets after the target's commit, poison alone into dead letters, pauses, stops."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import ClassVar

import psycopg
import pytest
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import Producer, TopicPartition
from psycopg.rows import TupleRow

from sorbus.bus.kafka import admin, base_config, group_consumer
from sorbus.bus.registry import ConfluentRegistry
from sorbus.connector import Delivery, RejectedDelivery
from sorbus.consumers import batch_size
from sorbus.consumers.group_member import GroupMember
from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.consumers.rejections import Rejections
from sorbus.deadletter import DeadLetter
from sorbus.dlq.requeue import Sender
from sorbus.errors import TransientError, Unfinished
from sorbus.event import confluent_prefix, envelope_schema
from sorbus.ops.embedded import Ports, packages
from sorbus.ops.embedded.kafka import Kafka
from sorbus.ops.runtime.topics import plan_topics, topics_of
from sorbus.settings import Settings
from sorbus.telemetry.health import Health
from sorbus.telemetry.stop import Stop
from tests.consumers.gadgets import GADGET_WITH_LINES, Writer
from tests.consumers.line import FLOW, RESTRICTED, Line, down, eventually, named
from tests.consumers.plugin import MakeLine

GADGET_ENVELOPE = json.dumps({**envelope_schema(GADGET_WITH_LINES).json, "doc": "From an earlier release."})
LONG = "a name that is too long for it"


def test_three_kinds_of_poison_go_alone_into_dead_letters(line: Line) -> None:
    line.execute(RESTRICTED)
    unknown = Writer(GADGET_WITH_LINES, b"\0" + (999_999).to_bytes(4, "big")).event("g7", 1, named("unknown"))
    with line.consuming():
        line.publish((f"g{n}", 1, named(f"n{n}")) for n in range(5))
        line.write("g5", b"\x07garbage", [("mine", b"kept")])
        line.write("g7", *unknown)
        refused, headers = line.writer.event("g8", 1, named(LONG))
        line.write("g8", refused, headers)
        line.publish((f"g{n}", 1, named(f"n{n}")) for n in (6, 9))
        line.until({f"g{n}": f"n{n}" for n in (0, 1, 2, 3, 4, 6, 9)})
        letters = {letter.record_id: letter for letter in line.until_letters(3)}
    garbage, foreign, long = (letters[key] for key in (b"g5", b"g7", b"g8"))
    assert [letter.reason for letter in (garbage, foreign, long)] == ["undecodable", "unknown schema", "CheckViolation"]
    assert garbage.value == b"\x07garbage"
    assert dict(garbage.headers)["mine"] == b"kept"
    assert foreign.value == unknown[0]
    assert "999999" in foreign.message
    assert (long.value, long.field) == (refused, "short_name")
    assert dict(long.headers) == dict(headers)
    assert "violates check constraint" in long.words
    for letter in letters.values():
        assert (letter.flow, letter.system, letter.data_type) == (FLOW, "books", "gadget")
        assert (letter.topic, letter.attempts) == (line.topic, 1)
        assert letter.first_at == letter.last_at > 0


def test_a_requeued_letter_lands_after_a_fix_and_is_closed(line: Line) -> None:
    line.execute(RESTRICTED)
    with line.consuming():
        line.publish([("g1", 1, named(LONG)), ("g2", 1, named("fine"))])
        (first,) = line.until_letters(1)
        Sender(line.settings, line.names).requeue([first])

        def tried_again() -> DeadLetter | None:
            return next((letter for letter in line.letters() if letter.attempts == 2), None)

        second = eventually(tried_again, "a second attempt")
        assert (second.id, second.first_at, second.value) == (first.id, first.first_at, first.value)
        assert second.last_at > first.last_at
        assert (second.topic, second.partition, second.offset) == (first.topic, first.partition, first.offset)
        assert second.headers == first.headers
        line.execute("alter table gadgets drop constraint short_name")
        Sender(line.settings, line.names).requeue([second])
        line.until_letters(0)
        line.until({"g1": LONG, "g2": "fine"})


def test_a_requeued_older_version_changes_nothing_and_is_closed(line: Line) -> None:
    line.execute(RESTRICTED)
    with line.consuming():
        line.publish([("g1", 1, named(LONG))])
        (letter,) = line.until_letters(1)
    line.execute("alter table gadgets drop constraint short_name")
    with line.consuming():
        line.publish([("g1", 2, named("newer"))])
        line.until({"g1": "newer"})
        line.until_letters(0)
        Sender(line.settings, line.names).requeue([letter])
        line.publish([("g2", 1, named("after it"))])
        line.until({"g1": "newer", "g2": "after it"})
        line.until_letters(0)
    assert line.rows()["g1"] == "newer"


def test_a_newer_state_closes_the_dead_letter_by_itself(line: Line) -> None:
    line.execute(RESTRICTED)
    with line.consuming():
        line.publish([("g1", 1, named(LONG)), ("g2", 1, named(LONG)), ("g3", 1, named("fine"))])
        line.until_letters(2)
        line.publish([("g1", 2, named("short"))])
        (left,) = line.until_letters(1)
        assert left.record_id == b"g2"
    with line.consuming():  # another process knows of it too
        line.publish([("g2", 2, None)])
        line.until_letters(0)


def test_a_delete_that_is_refused_lands_when_requeued(line: Line) -> None:
    with line.consuming():
        line.publish([("g1", 1, named("used"))])
        line.until({"g1": "used"})
        line.execute("create table uses (gadget text references gadgets); insert into uses values ('g1')")
        line.publish([("g1", 2, None)])
        (letter,) = line.until_letters(1)
        assert letter.field == "uses_gadget_fkey"
        line.execute("drop table uses")
        Sender(line.settings, line.names).requeue([letter])
        line.until({})
        line.until_letters(0)


def test_a_tombstone_alone_deletes(line: Line) -> None:
    with line.consuming():
        line.publish([("g1", 1, named("x")), ("g2", 1, named("y"))])
        line.until({"g1": "x", "g2": "y"})
        line.write("g1", None, line.writer.event("g1", 2, None)[1])
        line.write("g2", None)  # says no version: nothing that could be put in order
        line.publish([("g3", 1, named("z"))])
        line.until({"g2": "y", "g3": "z"})


def test_a_target_that_is_down_pauses_the_flow_which_goes_on_by_itself(line: Line) -> None:
    with line.consuming() as running:
        line.publish([("g0", 1, named("before"))])
        line.until({"g0": "before"})
        eventually(lambda: running.health.waiting() is None, "readiness")
        with down(line):
            line.publish((f"g{n}", 1, named(f"n{n}", "a")) for n in range(1, 300))
            why = eventually(running.health.waiting, "the reason in health")
            assert "PostgreSQL" in why
            assert running.health.stuck() is None
        line.until({"g0": "before"} | {f"g{n}": f"n{n}" for n in range(1, 300)})
        eventually(lambda: running.health.waiting() is None, "readiness again")
    assert line.letters() == []


class Opening(PostgresConsumer):
    """It counts how often it could not be opened."""

    failures: ClassVar[int] = 0

    def open(self) -> None:
        try:
            super().open()
        except TransientError:
            Opening.failures += 1
            raise


AWAY = {
    "it takes no connections": lambda line: down(line),
    "its table is another": lambda line: changed(
        line, "alter table gadgets rename to parts", "alter table parts rename to gadgets"
    ),
    "its side table is another": lambda line: changed(
        line, "alter table sorbus_applied rename to other", "alter table other rename to sorbus_applied"
    ),
    "its role may not write": lambda line: changed(
        line,
        "alter database {name} set default_transaction_read_only = on",
        "alter database {name} reset default_transaction_read_only",
    ),
}


@contextmanager
def changed(line: Line, change: str, back: str) -> Iterator[None]:
    """The target is changed for new connections while the block lasts, and its connections are ended."""
    name = line.connection.info.dbname
    line.execute(change.format(name=name))
    line.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and application_name like 'sorbus %'"
    )
    try:
        yield
    finally:
        with psycopg.connect(line.dsn, autocommit=True) as session:
            session.execute("set default_transaction_read_only = off")
            session.execute(back.format(name=name).encode())


@pytest.mark.parametrize("away", AWAY.values(), ids=AWAY)
def test_a_target_that_can_not_be_opened_again_for_a_while_holds_the_flow_and_does_not_end_it(
    line: Line, away: Callable[[Line], AbstractContextManager[None]]
) -> None:
    with line.consuming(make=lambda: Opening(line.flow)) as running:
        line.publish([("g0", 1, named("before"))])
        line.until({"g0": "before"})
        Opening.failures = 0
        with away(line):
            line.publish((f"g{n}", 1, named(f"n{n}", "a")) for n in range(1, 30))
            eventually(lambda: Opening.failures >= 3 or running.error, "three attempts to open it")
            assert running.error is None
        line.until({"g0": "before"} | {f"g{n}": f"n{n}" for n in range(1, 30)})
        eventually(lambda: running.health.waiting() is None, "readiness")
    assert line.letters() == []


def test_a_session_that_ends_while_open_letters_are_compared_is_begun_again(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.execute(RESTRICTED)
    with line.consuming():
        line.publish([("g1", 1, named(LONG))])
        line.until_letters(1)
    real, calls = Rejections.load, []

    def load(rejections: Rejections) -> None:
        if not calls:
            line.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and application_name like 'sorbus %'"
            )
        calls.append(rejections)
        real(rejections)

    monkeypatch.setattr(Rejections, "load", load)
    with line.consuming():
        line.publish([("g2", 1, named("short"))])
        line.until({"g2": "short"})


def test_a_consumer_without_kafka_is_never_ready(line: Line) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    away = Settings(kafka=address, registry=line.settings.registry)
    with line.consuming(settings=away) as running:
        eventually(lambda: running.health.waiting() == f"Kafka has not answered yet at {address}", "only Kafka's part")
        assert not running.health.status().ready
        eventually(lambda: "can't be reached" in (running.health.waiting() or ""), "what librdkafka says of it")


@pytest.mark.slow
def test_readiness_follows_kafka(line: Line, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder, ports = tmp_path_factory.mktemp("kafka"), Ports.free()
    kafka = Kafka(folder, packages.fetch(), port=ports.kafka, controller=ports.controller)
    kafka.start()
    try:
        kafka.wait()
        its_own = Settings(kafka=kafka.address, registry="")
        with line.consuming(settings=its_own) as running:
            why = "the topics that are not there yet, in the reason"
            eventually(lambda: "assign" in (running.health.waiting() or ""), why)
            for step in plan_topics(admin(its_own), topics_of(line.loaded.map)):
                assert step.apply is not None
                step.apply()
            eventually(lambda: running.health.waiting() is None, "readiness")
            kafka.stop()
            eventually(lambda: "Kafka" in (running.health.waiting() or ""), "Kafka in the reason", 30)
            began = running.health.status().since
            kafka.start()
            kafka.wait()
            eventually(lambda: running.health.waiting() is None, "readiness again")
            assert running.health.status().since > began
    finally:
        kafka.stop()


def test_partitions_that_come_back_are_read_though_they_were_paused_when_they_were_lost(line: Line) -> None:
    """As of a flow that waited for its target while Kafka was away for longer than a session."""
    line.publish([("g1", 1, named("x"))])
    member = GroupMember(line.flow, line.settings, Health(), Stop())
    kafka = group_consumer(line.settings, line.names.group(FLOW))
    parts = [TopicPartition(line.topic, number) for number in range(2)]
    try:
        for _ in range(2):  # what comes back begins again, since nothing was committed
            member.assigned(kafka, parts)
            assert eventually(lambda: _keys(kafka), "events of partitions that came", 5) == [b"g1"]
            kafka.pause(parts)
            kafka.incremental_unassign(parts)
    finally:
        kafka.close()


def _keys(kafka: KafkaConsumer) -> list[bytes | None]:
    return [one.key() for one in kafka.consume(1, 0.1) if one.error() is None]


class Noting(PostgresConsumer):
    """It notes how many deliveries it is given at a time."""

    counts: ClassVar[list[int]] = []

    def apply(
        self, deliveries: Sequence[Delivery], *, again: bool = False, alone: bool = False
    ) -> list[RejectedDelivery]:
        self.counts.append(len(deliveries))
        return super().apply(deliveries, again=again, alone=alone)


def test_batches_grow_with_a_quick_target_and_shrink_with_a_slow_one(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_size, "_SLOW", 0.5)
    Noting.counts.clear()
    line.publish((f"g{n}", 1, named("x")) for n in range(4000))
    with line.consuming(make=lambda: Noting(line.flow)):
        line.until({f"g{n}": "x" for n in range(4000)})
    assert Noting.counts[0] <= 500
    assert max(Noting.counts) > 1000
    line.execute(
        "create function slowly() returns trigger language plpgsql as 'begin perform pg_sleep(0.002); return new; end';"
        "create trigger slowly before insert or update on gadgets for each row execute function slowly()"
    )
    Noting.counts.clear()
    line.publish((f"g{n}", 2, named("y")) for n in range(1000))
    with line.consuming(make=lambda: Noting(line.flow)):
        line.until({f"g{n}": "y" if n < 1000 else "x" for n in range(4000)})
    assert min(Noting.counts[1:]) < 300, Noting.counts


CHANGED = {
    "the table is gone": ("alter table gadgets rename to parts", "alter table parts rename to gadgets"),
    "a column is gone": (
        "alter table gadgets rename sorbus_version to v",
        "alter table gadgets rename v to sorbus_version",
    ),
    "the key is none": (
        "alter table gadgets drop constraint gadgets_pkey",
        "alter table gadgets add primary key (id)",
    ),
}


@pytest.mark.parametrize(
    ("change", "mend"),
    [pytest.param(*case, id=id, marks=() if "column" in id else pytest.mark.slow) for id, case in CHANGED.items()],
)
def test_a_target_whose_tables_are_not_as_they_were_pauses_the_flow_and_makes_no_letters(
    line: Line, change: str, mend: str
) -> None:
    line.publish([("g0", 1, named("before"))])
    with line.consuming() as running:
        line.until({"g0": "before"})
        eventually(lambda: running.health.waiting() is None, "readiness")
        line.execute(change)
        line.publish((f"g{n}", 1, named(f"n{n}", "a")) for n in range(1, 50))
        assert eventually(running.health.waiting, "the reason in health")
        line.execute(mend)
        line.until({"g0": "before"} | {f"g{n}": f"n{n}" for n in range(1, 50)})
    assert line.letters() == []


def test_kill_nine_between_the_targets_commit_and_ours_loses_and_doubles_nothing(line: Line) -> None:
    expected = {f"g{n}": f"n{n}" for n in range(2000)}
    line.execute(
        "create table writes (id text, version bigint);"
        "create function note() returns trigger language plpgsql as"
        " 'begin insert into writes values (new.id, new.sorbus_version); return null; end';"
        "create trigger note after insert or update on gadgets for each row execute function note()"
    )
    line.publish((id, 1, named(name)) for id, name in expected.items())
    with line.process() as process:
        eventually(line.rows, "the first rows")
        process.end(signal.SIGKILL)
    line.publish([("g0", 2, named("again"))])
    with line.process("again") as process:
        line.until(expected | {"g0": "again"})
        assert process.end() == 0
    doubled = line.connection.execute("select id, version from writes group by 1, 2 having count(*) > 1").fetchall()
    assert doubled == []


class Unlucky(PostgresConsumer):
    """Ends the loop right after the target's commit, before any offset is committed."""

    def apply(
        self, deliveries: Sequence[Delivery], *, again: bool = False, alone: bool = False
    ) -> list[RejectedDelivery]:
        super().apply(deliveries, again=again, alone=alone)
        raise SystemExit("killed")


def lines_of(line: Line, ids: list[str]) -> list[TupleRow]:
    """The lines of these gadgets, as the target has them."""
    found = line.connection.execute("select * from gadget_lines order by 1, 2").fetchall()
    return [row for row in found if str(row[0]) in ids]


def test_what_the_target_has_committed_comes_again_when_its_offsets_were_not(line: Line) -> None:
    line.publish((f"g{n}", 1, named(f"n{n}", "a", "b")) for n in range(10))
    with pytest.raises(AssertionError, match="killed"), line.consuming(make=lambda: Unlucky(line.flow)) as running:
        running.thread.join(40)
    landed = list(line.rows())
    assert landed
    before = lines_of(line, landed)
    with line.consuming():
        line.publish([("last", 1, named("last"))])
        line.until({f"g{n}": f"n{n}" for n in range(10)} | {"last": "last"})
    assert lines_of(line, landed) == before


def test_members_share_partitions_and_take_over_while_running(line: Line) -> None:
    expected: dict[str, str] = {}

    def more(step: int) -> None:
        events = {f"g{step}-{n}": f"n{n}" for n in range(100)}
        expected.update(events)
        line.publish((id, step, named(name)) for id, name in events.items())

    with line.consuming(batch=50):
        more(1)
        with line.consuming(batch=50):
            more(2)
            line.until(expected)
            more(3)
        more(4)
        line.until(expected)
        with line.consuming(batch=50):
            more(5)
        line.until(expected)
    assert line.letters() == []


def test_every_two_seconds_is_a_timing_that_holds(make_line: MakeLine) -> None:
    line = make_line(timing="every 2s")
    with line.consuming():
        for version in range(1, 4):
            line.publish([("g1", version, named(f"v{version}"))])
            line.until({"g1": f"v{version}"}, seconds=20)


@contextmanager
def nothing_listens() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


def test_a_consumer_needs_no_registry_for_schemas_that_sorbus_registered(line: Line) -> None:
    with nothing_listens() as registry:
        away = Settings(kafka=line.settings.kafka, registry=registry)
        line.publish([("g1", 1, named("x"))])
        with line.consuming(settings=away):
            line.until({"g1": "x"})


def test_an_unreachable_registry_is_waited_for(line: Line) -> None:
    """It is asked for ids that are not in the schema history: those of events of earlier releases."""
    older = ConfluentRegistry(line.settings).register(f"{line.topic}-older", GADGET_ENVELOPE)
    event = Writer(GADGET_WITH_LINES, confluent_prefix(older)).event("g1", 1, named("x"))
    line.write("g1", *event)
    line.flush()
    with nothing_listens() as registry:
        away = Settings(kafka=line.settings.kafka, registry=registry)
        with line.consuming(settings=away) as running:
            why = eventually(running.health.waiting, "the reason in health")
            eventually(lambda: "registry" in (running.health.waiting() or ""), f"the registry in {why!r}")
    assert line.letters() == []
    assert line.rows() == {}
    with line.consuming():
        line.until({"g1": "x"})


def test_without_a_registry_events_are_single_objects(make_line: MakeLine) -> None:
    line = make_line(registry=False)
    value, _ = line.writer.event("g1", 1, named("x"))
    assert value[:2] == b"\xc3\x01"
    with line.process() as process:
        line.publish([("g1", 1, named("x", "a")), ("g2", 1, named("y"))])
        line.until({"g1": "x", "g2": "y"})
        assert process.end() == 0


def test_the_lag_is_zero_when_everything_is_delivered(line: Line) -> None:
    producer = Producer({**base_config(line.settings, "test"), "transactional.id": line.topic})
    producer.init_transactions()
    for n in range(3):
        producer.begin_transaction()
        value, headers = line.writer.event(f"g{n}", 1, named("x"))
        producer.produce(line.topic, value, f"g{n}", headers=headers)
        producer.commit_transaction()
    with line.consuming():
        line.until({f"g{n}": "x" for n in range(3)})

        def caught_up() -> bool:
            (flow,) = json.loads(line.sorbus("status", "--json"))["flows"]
            return bool(flow["lag_records"] == 0 and flow["members"] == 1)

        eventually(caught_up, "a lag of 0")


class Absent(PostgresConsumer):
    """A target that can't be reached from here until `there` is set."""

    there = threading.Event()

    def apply(
        self, deliveries: Sequence[Delivery], *, again: bool = False, alone: bool = False
    ) -> list[RejectedDelivery]:
        if not self.there.is_set():
            raise TransientError("not from here")
        return super().apply(deliveries, again=again, alone=alone)


def test_a_member_that_was_held_up_does_not_set_anothers_offsets_back(line: Line) -> None:
    def committed() -> int:
        (flow,) = json.loads(line.sorbus("status", "--json"))["flows"]
        return int(flow["lag_records"])

    Absent.there.clear()
    line.publish((f"g{n}", 1, named("first")) for n in range(40))
    with line.consuming(make=lambda: Absent(line.flow)) as held_up:
        eventually(lambda: "not from here" in (held_up.health.waiting() or ""), "the first member's pause")
        with line.consuming():
            there = len(eventually(line.rows, "the second member's share"))
            assert there < 40
            line.publish((f"g{n}", 2, named("second")) for n in range(40))
            eventually(lambda: "second" in line.rows().values(), "the second member's further progress")
            Absent.there.set()
            line.until({f"g{n}": "second" for n in range(40)})
            eventually(lambda: committed() == 0, "a lag of 0")


class Unhurried(PostgresConsumer):
    """A target that takes one record of a batch at each call, and at most seven in a batch."""

    batch = 7
    seen: list[tuple[bytes, ...]]

    def apply(
        self, deliveries: Sequence[Delivery], *, again: bool = False, alone: bool = False
    ) -> list[RejectedDelivery]:
        ids = tuple(delivery.id for delivery in deliveries)
        self.seen.append(ids)
        super().apply(deliveries[: self.seen.count(ids)], again=again, alone=alone)
        if self.seen.count(ids) < len(ids):
            raise Unfinished("one a second, please", retry_after=0.0)
        return []


def test_an_unfinished_batch_is_called_again_as_it_was_and_nobody_is_told_of_trouble(line: Line) -> None:
    Unhurried.seen = []
    line.publish((f"g{n}", 1, named(f"n{n}")) for n in range(40))
    troubles: set[str | None] = set()
    with line.consuming(make=lambda: Unhurried(line.flow)) as running:
        eventually(lambda: running.health.waiting() is None, "readiness")
        while len(line.rows()) < 40:
            troubles.add(running.health.waiting())
        line.until({f"g{n}": f"n{n}" for n in range(40)})
    assert troubles <= {None}
    assert max(len(ids) for ids in Unhurried.seen) == 7
    batches = list(dict.fromkeys(Unhurried.seen))
    assert Unhurried.seen == [ids for ids in batches for _ in ids]  # none in between, none left out
    assert line.letters() == []


def test_a_newer_refused_event_leaves_one_letter(line: Line) -> None:
    line.execute(RESTRICTED)
    with line.consuming():
        for version in (1, 2, 3):
            line.publish([("g1", version, named(LONG))])
            eventually(
                lambda version=version: (
                    [b"@%d" % version in dict(found.headers)["ce_id"] for found in line.letters()]  # type: ignore[misc]
                    == [True]
                ),
                f"only the letter of version {version}",
            )
