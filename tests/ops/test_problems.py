"""What doesn't work is said with since when and why, whoever it is that knows it: a process, its silence, the watch."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from functools import partial

import pytest
from confluent_kafka import Producer

from sorbus.bus import status
from sorbus.bus.kafka import admin, base_config
from sorbus.bus.names import Names
from sorbus.bus.status import ProcessReport, StatusReader, reporting
from sorbus.errors import AuthError, ExitCode, LostPosition, SorbusError, TransientError, missing, refused_login
from sorbus.mapfile.model import Map
from sorbus.ops.console.health_status import badges_of
from sorbus.ops.embedded import Addresses
from sorbus.ops.monitoring.flow_state import FlowState
from sorbus.ops.monitoring.measure import Measurement
from sorbus.ops.monitoring.problems import DEPENDENCIES, SILENT, Problem, dated, problems_of, unmapped
from sorbus.ops.runtime.topics import Topic, plan_topics, topics_of
from sorbus.settings import Settings
from sorbus.telemetry.health import Health
from tests.consumers.line import eventually

COMPANY = Map.model_validate(
    {
        "systems": {"crm": {"kind": "postgres"}, "books": {"kind": "postgres"}},
        "data_types": {"order": {"system_of_record": "crm"}},
        "flows": [{"data_type": "order", "to": "books"}],
    }
)
NOW = 1_000_000.0
PRODUCER = ProcessReport("produce crm", "a:1", True, NOW - 900, at=NOW - 1)
CONSUMER = ProcessReport("consume order-to-books", "a:2", True, NOW - 900, at=NOW - 1)


def _found(*reports: ProcessReport, **sources: tuple[float, str]) -> list[tuple[str, str, str, str]]:
    found = problems_of(COMPANY, reports, sources, NOW)
    return [(one.kind, one.subject, one.what, one.why) for one in found]


def _bad(report: ProcessReport, why: str, dependency: str = "", seconds: float = 20.0) -> ProcessReport:
    return replace(report, ready=False, reason=why, dependency=dependency, since=NOW - seconds)


@pytest.mark.parametrize(
    ("reports", "since"),
    [
        ((PRODUCER, CONSUMER), NOW - 1),
        ((_bad(PRODUCER, "no answer", "registry", seconds=600), _bad(CONSUMER, "no answer", "registry")), NOW - 600),
        ((_bad(PRODUCER, "no answer", "state", seconds=600),), NOW - 1),
        ((replace(_bad(PRODUCER, "no answer", "registry", seconds=600), at=NOW - SILENT - 1),), NOW - 1),
        ((replace(PRODUCER, dependency="registry"),), NOW - 1),
    ],
)
def test_a_dependency_is_away_since_whoever_noticed_it_first(reports: tuple[ProcessReport, ...], since: float) -> None:
    """`sorbus status` itself has only just begun to look."""
    (one,) = dated([Problem("dependency", "registry", "unreachable", NOW - 1, "refused")], reports, NOW)
    assert (one.since, one.why) == (since, "refused")


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        ((PRODUCER, CONSUMER), []),
        ((), []),
        (
            (PRODUCER, _bad(CONSUMER, "connection refused", "system")),
            [("system", "books", "unreachable", "connection refused")],
        ),
        ((PRODUCER, _bad(CONSUMER, "connection refused", "system", seconds=3)), []),
        ((_bad(PRODUCER, "no answer", "system"), CONSUMER), [("system", "crm", "unreachable", "no answer")]),
        (
            (_bad(PRODUCER, "the token was revoked", "refused", seconds=0), CONSUMER),
            [("producer", "crm", "stopped", "the token was revoked")],
        ),
        (
            (replace(_bad(PRODUCER, "the slot is gone", "refused"), exit_code=4, at=NOW - 5000), CONSUMER),
            [("producer", "crm", "stopped", "the slot is gone")],
        ),
        ((PRODUCER, _bad(CONSUMER, "no column x")), [("consumer", "order-to-books", "waiting", "no column x")]),
        ((PRODUCER, _bad(CONSUMER, "starting")), []),
        ((CONSUMER,), [("producer", "crm", "not running", "it has never run")]),
        (
            (PRODUCER, CONSUMER, _bad(replace(CONSUMER, instance="b:9"), "x")),
            [("consumer", "order-to-books", "waiting", "x")],
        ),
        ((PRODUCER, replace(_bad(CONSUMER, "x", "system"), at=NOW - 900), CONSUMER), []),
    ],
)
def test_what_processes_say_is_said_of_what_they_work_for(
    reports: tuple[ProcessReport, ...], expected: list[tuple[str, str, str, str]]
) -> None:
    assert _found(*reports) == expected


@pytest.mark.parametrize("dependency", ["kafka", "registry", "state"])
def test_a_dependency_that_is_away_says_why_once(dependency: str) -> None:
    """What waits for it names it only."""
    waits = _bad(CONSUMER, "connecting: no answer from 127.0.0.1", dependency)
    (one,) = problems_of(COMPANY, (PRODUCER, waits), {}, NOW, missing={dependency})
    assert (one.subject, one.what, one.why) == (
        "order-to-books",
        "waiting",
        f"{DEPENDENCIES[dependency]} is unreachable",
    )
    (alone,) = problems_of(COMPANY, (PRODUCER, waits), {}, NOW)
    assert alone.why == "connecting: no answer from 127.0.0.1", "else nobody says why"


def test_a_process_that_says_nothing_any_more_is_not_running() -> None:
    (found,) = problems_of(COMPANY, (replace(PRODUCER, at=NOW - SILENT - 1), CONSUMER), {}, NOW)
    assert (found.kind, found.what, found.since) == ("producer", "not running", NOW - SILENT - 1)
    assert "sorbus produce crm" in found.why


POSTS = Map.model_validate(
    {
        "systems": {"shop": {"kind": "webhook", "connection": {"webhook_secret": "x"}}, "books": {"kind": "postgres"}},
        "data_types": {"order": {"system_of_record": "shop"}},
        "flows": [{"data_type": "order", "to": "books"}],
    }
)
OF_SHOP, WEBHOOKS = replace(PRODUCER, process="produce shop"), replace(PRODUCER, process="webhooks", instance="a:3")


@pytest.mark.parametrize(
    ("ages", "exit_code", "hosts", "is_said"),
    [
        ((600, 300, 120, 30), None, "a", True),
        ((600, 300, 120, 30), 1, "a", True),
        ((600, 300, 120, 30), 0, "a", False),  # stopped by a person each time
        ((300, 120, 30), None, "a", False),
        ((300, 120, 30, 5), None, "a", False),  # the last one may be running
        ((900, 800, 700, 650, 30), None, "a", False),
        ((30, 30, 30, 30), None, "abcd", False),  # machines that were switched off
    ],
)
def test_a_process_that_ends_again_and_again_is_not_well(
    ages: tuple[float, ...], exit_code: int | None, hosts: str, is_said: bool
) -> None:
    ended = [
        replace(CONSUMER, instance=f"{hosts[number % len(hosts)]}:{number}", at=NOW - age, exit_code=exit_code)
        for number, age in enumerate(ages, start=10)
    ]
    found = _found(PRODUCER, CONSUMER, *ended)
    assert len(found) == is_said
    if is_said:
        ((kind, subject, what, why),) = found
        assert (kind, subject, what) == ("consumer", "order-to-books", "waiting")
        assert "4 times within 10 minutes" in why


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        ((OF_SHOP, WEBHOOKS), None),
        ((OF_SHOP,), "it has never run"),
        ((OF_SHOP, replace(WEBHOOKS, at=NOW - SILENT - 1)), "start `sorbus webhooks` again"),
        ((OF_SHOP, replace(WEBHOOKS, exit_code=0, ready=False)), "start it with `sorbus webhooks`"),
        ((OF_SHOP, _bad(WEBHOOKS, "the port is taken")), "the port is taken"),
    ],
)
def test_records_that_nobody_receives_are_said(reports: tuple[ProcessReport, ...], expected: str | None) -> None:
    """The producer only reads what was received: it runs and is well while every post is refused."""
    found = problems_of(POSTS, reports, {}, NOW)
    assert [(one.kind, one.subject) for one in found] == ([("producer", "shop")] if expected else [])
    assert all("what it posts isn't received: " in one.why and str(expected) in one.why for one in found)
    assert problems_of(COMPANY, (PRODUCER, CONSUMER), {}, NOW) == [], "a map without posts needs no receiver"


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        ((OF_SHOP, WEBHOOKS), None),
        ((OF_SHOP,), None),  # nobody uses them, and polls find everything
        ((OF_SHOP, replace(WEBHOOKS, at=NOW - SILENT - 1)), "start `sorbus webhooks` again"),
        ((OF_SHOP, replace(WEBHOOKS, exit_code=1, ready=False, reason="it crashed")), "it crashed"),
        ((OF_SHOP, _bad(WEBHOOKS, "the port is taken")), "the port is taken"),
    ],
)
def test_notices_that_nobody_receives_any_more_are_said(
    reports: tuple[ProcessReport, ...], expected: str | None
) -> None:
    """In containers Prometheus forgets the service's address with the service, so that no other alert says it."""
    shop = {**POSTS.systems, "shop": POSTS.systems["shop"].model_copy(update={"kind": "http"})}
    found = problems_of(POSTS.model_copy(update={"systems": shop}), reports, {}, NOW)
    assert [(one.kind, one.subject, one.what) for one in found] == (
        [("producer", "shop", "waiting")] if expected else []
    )
    assert all("its webhooks aren't received" in one.why and str(expected) in one.why for one in found)


@pytest.mark.parametrize(
    ("report", "is_said"),
    [
        (PRODUCER, False),
        (CONSUMER, False),
        (replace(CONSUMER, process="consume order-to-old_shop"), True),
        (replace(PRODUCER, process="produce books"), True),
        (replace(PRODUCER, process="produce old_crm"), True),
        (replace(PRODUCER, process="produce old_crm", at=NOW - SILENT - 1), False),
        (replace(PRODUCER, process="produce old_crm", exit_code=0), False),
    ],
)
def test_a_process_that_works_by_an_older_map_is_said(report: ProcessReport, is_said: bool) -> None:
    """It delivers where the map no longer does, or publishes for a system that has another owner now."""
    found = unmapped(COMPANY, [report], NOW)
    assert [name for name, _ in found] == ([report.process.partition(" ")[2]] if is_said else [])
    measured = Measurement(NOW, (), (), {}, {}, notes=found)
    assert [report.instance in one for one in measured.complaints()] == ([True] if is_said else [])


def test_what_the_watch_itself_can_not_ask_counts_even_if_no_process_says_so() -> None:
    assert _found(crm=(NOW - 30, "connection refused")) == [("system", "crm", "unreachable", "connection refused")]
    assert _found(crm=(NOW - 3, "connection refused")) == []


def test_a_problem_says_since_when_with_the_zone_and_why() -> None:
    (found,) = problems_of(COMPANY, (_bad(PRODUCER, "no answer", "system"), CONSUMER), {}, NOW)
    assert found.words.startswith("unreachable since 1970-01-12 ")
    assert found.words.endswith(", because no answer")
    assert found.words.split()[4].strip(",") == time.strftime("%Z", time.localtime(NOW))


FLOW = FlowState("order-to-books", "order", "books", "running", 1, 7, 0, 0.0, None, 0, 990.0, 0.0)
STOPPED = Problem("producer", "crm", "stopped", NOW, "the token was revoked: run sorbus api login crm")
AWAY = Problem("system", "books", "unreachable", NOW, "connection refused")


def test_nothing_is_green_while_its_source_or_target_is_not_there() -> None:
    measured = Measurement(NOW, (replace(FLOW, source_problem=STOPPED),), (), {}, {}, problems=(STOPPED,))
    signs = badges_of(COMPANY, measured)
    assert {signs.systems["crm"].kind, signs.flows["order-to-books"].kind} == {"bad"}
    assert "the token was revoked" in signs.flows["order-to-books"].why
    assert measured.complaints() == [f"crm: {STOPPED.words}"]

    measured = Measurement(NOW, (replace(FLOW, problem=AWAY),), (), {}, {}, problems=(AWAY,))
    signs = badges_of(COMPANY, measured)
    assert {signs.systems["books"].kind, signs.flows["order-to-books"].kind} == {"bad"}
    assert "connection refused" in signs.systems["books"].why
    assert measured.complaints() == [f"books: {AWAY.words}"], "one cause is said once"


def test_nothing_is_green_while_nothing_can_be_measured() -> None:
    signs = badges_of(COMPANY, Measurement(NOW, (FLOW,), (), {}, {"crm": 0}), "listing topics: Kafka: timed out")
    assert {sign.kind for sign in (*signs.flows.values(), *signs.systems.values())} == {"bad"}
    assert signs.counts["ok"] == 0


def test_a_source_that_holds_nothing_back_is_well() -> None:
    signs = badges_of(COMPANY, Measurement(NOW, (FLOW,), (), {}, {}))
    assert signs.systems["crm"].kind == "ok"


@pytest.mark.parametrize(
    ("error", "code", "dependency"),
    [
        (refused_login(AuthError("the token was revoked")), ExitCode.REFUSED, "refused"),
        (LostPosition("the slot is gone"), ExitCode.REFUSED, "refused"),
        (missing("system", TransientError("away")), ExitCode.UNREACHABLE, ""),
    ],
)
def test_a_process_is_known_by_its_reports_and_so_is_its_end(
    stack: Addresses, unique: str, error: SorbusError, code: ExitCode, dependency: str
) -> None:
    settings, names = Settings(kafka=stack.kafka), Names(unique)
    for step in plan_topics(admin(settings), _status(unique)):
        assert step.apply is not None
        step.apply()
    reader, health = StatusReader(settings, names), Health()

    def live() -> None:
        with reporting(settings, names, "produce crm", health):
            eventually(lambda: [one.reason for one in reader.read()] == ["starting"], "it never reported")
            health.ready("no answer", dependency="system")
            eventually(
                lambda: [(one.reason, one.dependency) for one in reader.read()] == [("no answer", "system")],
                "the trouble was not reported",
            )
            health.ready()
            eventually(lambda: [one.ready for one in reader.read()] == [True], "that it works was not reported")
            raise error

    with pytest.raises(type(error)):
        live()
    eventually(lambda: [one.exit_code for one in reader.read()] == [code], "its end was not reported")
    (last,) = reader.read()
    assert (last.reason, last.dependency, last.ready) == (str(error), dependency, False)
    late = StatusReader(settings, names)
    assert [replace(one, at=last.at) for one in late.read()] == [last]
    late.close()
    reader.close()


@pytest.mark.parametrize("wrong", [-40.0, 3600.0])
@pytest.mark.parametrize("stamped_by", ["CreateTime", "LogAppendTime"])
def test_a_process_is_alive_while_it_reports_whatever_its_clock_says(
    stack: Addresses, unique: str, wrong: float, stamped_by: str
) -> None:
    """`CreateTime`: a topic that an earlier release made, and `sorbus apply` has not changed yet."""
    settings, names = Settings(kafka=stack.kafka), Names(unique)
    (topic,) = _status(unique)
    assert topic.config["message.timestamp.type"] == "LogAppendTime"
    for step in plan_topics(
        admin(settings), [replace(topic, config={**topic.config, "message.timestamp.type": stamped_by})]
    ):
        assert step.apply is not None
        step.apply()
    producer, began = Producer(base_config(settings, "test")), time.time()

    def tell() -> None:
        now = time.time() + wrong
        report = ProcessReport(
            "produce crm", "h:1", False, now - 30, "no answer", "system", last_reads={"": now}, at=now
        )
        value = json.dumps(asdict(report)).encode()
        producer.produce(names.status, value, b"produce crm h:1", timestamp=int(1000 * now))
        assert producer.flush(30) == 0

    tell()
    readers = [StatusReader(settings, names)]
    assert len(readers[0].read()) == 1
    if stamped_by == "LogAppendTime":
        readers.append(StatusReader(settings, names))
    tell()

    def judged(reader: StatusReader, at: float) -> list[tuple[str, str]]:
        return [(one.subject, one.what) for one in problems_of(COMPANY, reader.read(), {}, at)]

    def is_alive(reader: StatusReader) -> bool:
        return judged(reader, time.time()) == [("crm", "unreachable")]

    for reader in readers:
        eventually(partial(is_alive, reader), "that it is alive")
        (found,) = reader.read()
        assert abs(found.since - (began - 30)) < 20
        assert abs(found.last_reads[""] - began) < 20
        assert judged(reader, time.time() + SILENT + 1) == [("crm", "not running")]
        reader.close()


def test_former_instances_are_forgotten_but_for_each_process_s_last(
    stack: Addresses, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that crashes every minute would fill a watch that runs for months."""
    settings, names = Settings(kafka=stack.kafka), Names(unique)
    for step in plan_topics(admin(settings), _status(unique)):
        assert step.apply is not None
        step.apply()
    producer, reader, began = Producer(base_config(settings, "test")), StatusReader(settings, names), time.time()

    def tell(process: str, instance: str) -> None:
        report = ProcessReport(process, instance, True, began, at=time.time(), exit_code=1)
        producer.produce(names.status, json.dumps(asdict(report)).encode(), f"{process} {instance}".encode())
        assert producer.flush(30) == 0

    def read() -> list[tuple[str, str]]:
        return [(one.process, one.instance) for one in reader.read()]

    tell("consume order-to-books", "h:0")
    crashes = [f"h:{pid}" for pid in range(1, 30)]
    for instance in crashes:
        tell("produce crm", instance)
    last = [("consume order-to-books", "h:0"), ("produce crm", crashes[-1])]
    eventually(lambda: len(read()) == len(crashes) + 1, "the reports")
    monkeypatch.setattr(status, "_FORMER", 0.0)
    assert read() == last
    tell("produce crm", "h:31")
    eventually(lambda: read() == [last[0], ("produce crm", "h:31")], "the next instance alone")
    reader.close()
    late = StatusReader(settings, names)
    assert sorted((one.process, one.instance) for one in late.read()) == [last[0], ("produce crm", "h:31")]
    late.close()


def _status(prefix: str) -> list[Topic]:
    return [topic for topic in topics_of(COMPANY.model_copy(update={"topic_prefix": prefix})) if "status" in topic.name]
