"""Reconciliation on real servers: what agrees is found equal, whatever its type, and planted differences are found."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import runpy
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sorbus.bus.kafka import all_partitions, bytes_of, idempotent_producer, read_to_end, topic_reader
from sorbus.event import open_frame
from sorbus.map.load import load_map
from sorbus.ops.embedded import Addresses
from sorbus.ops.reconcile.scheduled import ScheduledReconciliations
from sorbus.ops.reconcile.store import ReconcileStore
from sorbus.settings import Settings
from sorbus.state import State
from tests.acceptance.office import Office, execute, rows_of
from tests.databases import new_database
from tests.ops import reconcile_company as company
from tests.producers.test_direct_events import with_version

ROWS = 300


@pytest.fixture(scope="module")
def office(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """The company with its flows delivered, and running."""
    dsns = [new_database(stack.database) for _ in range(4)]
    execute(dsns[0], company.OWNER, company.FILL.format(rows=ROWS))
    execute(dsns[2], company.THEIRS)
    env = dict(zip(("CRM_DSN", "REPORTING_DSN", "BOOKS_DSN", "SORBUS_DATABASE"), dsns, strict=True))
    made = Office(Path(tmp_path_factory.mktemp("office")), dsns[0].rpartition("/")[2], {**stack.env(), **env})
    company.write(made)
    made.sorbus("apply", "--yes")
    with made.up():
        made.until(lambda: _lacks(made), 60, every=0.2)
        yield made


def _lacks(office: Office) -> str:
    counts = [
        rows_of(office.env["REPORTING_DSN"], "select count(*) n from things")[0]["n"],
        rows_of(office.env["BOOKS_DSN"], "select count(*) n from their_things")[0]["n"],
        rows_of(office.env["REPORTING_DSN"], "select count(*) n from places")[0]["n"],
    ]
    return "" if counts == [ROWS, ROWS, 54] else f"rows: {counts}"


@pytest.mark.parametrize("flow", ["thing-to-reporting", "thing-to-books", "place-to-reporting"])
def test_equal_sides_have_equal_checksums(office: Office, flow: str) -> None:
    report = company.reconcile(office, flow)
    assert report["counts"] == {}
    assert report["in_flight"] == 0
    assert report["not_compared"] == []
    rules = ['label: rule value | upper | default("NONE")', "kept: rule value / 4"]
    assert report["from_topic"] == ([f"field {rule}" for rule in rules] if flow == "thing-to-books" else [])


PLANTED = {
    # What was done to the target -> the kind, the record and the fields that are to be found.
    "update things set name = 'changed' where id = '10'": ("different", "10", ["name"]),
    "update things set name = null where id = '11'": ("different", "11", ["name"]),
    "update things set name = '' where id = '2'": ("different", "2", ["name"]),
    "update things set code = trim(code) where id = '12'": ("different", "12", ["code"]),
    "update things set amount = amount + 0.0001 where id = '13'": ("different", "13", ["amount"]),
    "update things set price = price + 0.0001 where id = '14'": ("different", "14", ["price"]),
    "update things set ratio = ratio + 1e-15 where id = '15'": ("different", "15", ["ratio"]),
    "update things set ratio = 0 where id = '1'": ("different", "1", ["ratio"]),
    "update things set at = at + interval '1 microsecond' where id = '16'": ("different", "16", ["at"]),
    "update things set day = day + 1 where id = '17'": ("different", "17", ["day"]),
    "update things set noon = noon + interval '1 microsecond' where id = '18'": ("different", "18", ["noon"]),
    "update things set tag = gen_random_uuid() where id = '19'": ("different", "19", ["tag"]),
    "update things set raw = raw || '\\x00' where id = '20'": ("different", "20", ["raw"]),
    "update things set doc = doc || ' ' where id = '21'": ("different", "21", ["doc"]),
    "update things set words = array['w22', 'null', 'a \"b\" \\ c', ''] where id = '22'": (
        "different",
        "22",
        ["words"],
    ),
    "update things set nums = array[-23, 23] where id = '23'": ("different", "23", ["nums"]),
    "update things set active = null where id = '24'": ("different", "24", ["active"]),
    "update things a set qty = b.qty from things b where (a.id, b.id) in (('25', '26'), ('26', '25'))": (
        ("different", "25", ["qty"]),
        ("different", "26", ["qty"]),
    ),  # their difference cancels in a sum of values
    "delete from things where id = '30'": ("missing", "30", []),
    "update things set id = '99999' where id = '31'": (("missing", "31", []), ("extra", "99999", [])),
    "insert into things (id, sorbus_version) values ('-5', 1), ('x|y', 1)": (("extra", "-5", []), ("extra", "x|y", [])),
    "update parts set sku = 'other' where parent_id = '41' and position = 1": ("different", "41", ["parts[1].sku"]),
    "delete from parts where parent_id = '43' and position = 3": ("different", "43", ["parts[]"]),
    "update parts set position = 3 - position where parent_id = '42'": (
        ("different", "42", ["parts[1].sku", "parts[1].weight", "parts[2].sku", "parts[2].weight"]),
    ),
    "update places set id = 'DE|xx' where id = 'DE|x'": (),
}


@pytest.fixture(scope="module")
def planted(office: Office) -> None:
    """Differences in reporting, which healing takes away."""
    statements = [each.replace("3 - position", "-position") for each in PLANTED]
    execute(office.env["REPORTING_DSN"], *statements, "update parts set position = 3 + position where position < 0")


@pytest.mark.usefixtures("planted")
def test_each_planted_difference_is_found_and_nothing_else(office: Office) -> None:
    wanted: dict[str, tuple[str, list[str]]] = {}
    for found in PLANTED.values():
        for kind, id, fields in [found] if found and isinstance(found[0], str) else found:
            wanted[id] = (kind, fields)
    report = company.reconcile(office, "thing-to-reporting", "--wait", "20")
    differences = {
        one["id"]: (one["kind"], [field["field"] for field in one["fields"]]) for one in report["differences"]
    }
    assert differences == wanted
    places = company.reconcile(office, "place-to-reporting")["differences"]
    assert {(one["kind"], one["id"]) for one in places} == {("missing", "DE|x"), ("extra", "DE|xx")}


def test_fields_with_rules_are_compared_with_what_the_topic_holds(office: Office) -> None:
    execute(
        office.env["BOOKS_DSN"],
        "update their_things set label = lower(label) where no in (70, 71)",
        "update their_things set kept = kept + 0.01, tag = 'x' where no = 72",
        "delete from their_things where no = 73",
    )
    report = company.reconcile(office, "thing-to-books")
    found = {
        one["id"]: (one["kind"], sorted(field["field"] for field in one["fields"])) for one in report["differences"]
    }
    assert found == {
        "70": ("different", ["label"]),
        "71": ("different", ["label"]),
        "72": ("different", ["tag"]),
        "73": ("missing", []),
    }
    assert company.reconcile(office, "thing-to-books", "--changed")["counts"] == {"different": 3, "missing": 1}
    office.sorbus("reconcile", "thing-to-books", "--heal", "--yes", status=1)
    office.until(lambda: company.reconcile(office, "thing-to-books")["counts"], 60)


@pytest.mark.usefixtures("planted")
def test_healing_goes_through_the_bus_asks_first_and_deletes_nothing_that_sorbus_never_wrote(office: Office) -> None:
    told = office.sorbus("reconcile", "thing-to-reporting", "--heal", status=1)
    assert "heal_limit is 1.0%" in told
    dry = office.sorbus("reconcile", "thing-to-reporting", "--heal", "--dry-run", status=1)
    assert "10: would write name as crm has it" in dry
    assert company.reconcile(office, "thing-to-reporting")["counts"] != {}
    office.sorbus("reconcile", "thing-to-reporting", "--heal", "--yes", status=1)
    there = office.env["REPORTING_DSN"]
    office.until(lambda: _but(office, "thing-to-reporting", "--changed", extra=3), 60)
    report = company.reconcile(office, "thing-to-reporting")
    causes = {one["id"]: one["cause"] for one in report["differences"]}
    assert causes == dict.fromkeys(("-5", "x|y", "99999"), "foreign")
    office.sorbus("reconcile", "place-to-reporting", "--heal", "--yes", status=1)
    office.until(lambda: _but(office, "place-to-reporting", extra=1), 60)
    for flow in ("thing-to-reporting", "place-to-reporting"):
        assert '"records": []' in office.sorbus("reconcile", flow, "--heal", "--yes", "--json", status=1)
    execute(there, "delete from things where id in ('-5', 'x|y', '99999')", "delete from places where id = 'DE|xx'")
    assert company.reconcile(office, "place-to-reporting")["counts"] == {}
    assert company.reconcile(office, "thing-to-reporting")["counts"] == {}
    assert "No difference is open" in office.sorbus("reconcile", "thing-to-reporting", "--stored")


def _but(office: Office, flow: str, *options: str, **counts: int) -> object:
    """What differs, unless it is just so many."""
    found = company.reconcile(office, flow, *options)["counts"]
    return "" if found == counts else found


CHECK = Path(__file__).parents[2] / "examples" / "certificate" / "check.py"


def _check(file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-I", str(CHECK), str(file)], capture_output=True, text=True, check=False)


def _tampered(file: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The certificate after a change that also wrote its digest anew."""
    content = json.loads(file.read_text())
    del content["sha256"]
    change(content["flows"][0])
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    other = file.with_name("tampered.json")
    other.write_text(json.dumps({**content, "sha256": digest}))
    return other


def _assert_every_change_shows(flow: dict[str, Any]) -> None:
    """Every number and every line of what the checker relies on, changed, dropped or twice."""
    unexplained = runpy.run_path(str(CHECK))["unexplained"]
    assert not list(unexplained(flow))
    relied_on = ("sums", "totals", "suspects", "values", "moved", "differences", "undecided")
    changed = 0
    for place, key in [each for name in relied_on for each in _places(flow[name])]:
        was = place[key]
        if isinstance(was, int) or (isinstance(was, str) and re.fullmatch(r"-?[0-9.]+", was)):
            place[key] = was + 1 if isinstance(was, int) else f"{was}1"
            assert list(unexplained(flow)), f"{was} as {place[key]}"
            place[key] = was
            changed += 1
    for name in ("suspects", "moved", "differences"):
        for at in range(len(flow[name])):
            line = flow[name].pop(at)
            assert list(unexplained(flow)), f"{name} without {line}"
            flow[name][at:at] = [line, line]
            assert list(unexplained(flow)), f"{name} with {line} twice"
            del flow[name][at]
    assert changed > 20


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Where each leaf is: what holds it, and under which key; field values aside, which are for people."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        if isinstance(value[key], dict | list):
            if key != "fields":
                yield from _places(value[key])
        else:
            yield value, key


def test_a_certificate_taken_while_writers_write_explains_every_difference(office: Office, tmp_path: Path) -> None:
    file, stop = tmp_path / "thing.json", threading.Event()

    def write() -> None:
        with psycopg.connect(office.env["CRM_DSN"], autocommit=True) as connection:
            for number in itertools.count():
                if stop.wait(0.002):
                    return
                connection.execute("update things set qty = qty + 1 where id = %s", (100 + number % 150,))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        planted = ("update things set qty = 777 where id = '50'", "delete from things where id = '51'")
        execute(office.env["REPORTING_DSN"], *planted)
        told = office.sorbus("certify", "thing", "--out", str(file), status=1)
    finally:
        stop.set()
        writer.join()
    assert "agrees but for 2 records" in told
    done = _check(file)
    assert done.returncode == 0, done.stdout
    assert "thing-to-reporting into reporting: 300 records, {'differences': 2, 'undecided': 0," in done.stdout
    changes: list[Callable[[dict[str, Any]], object]] = [
        lambda flow: flow["suspects"].pop(),
        lambda flow: flow["sums"][""]["target"][0].__setitem__(2, 1),
        lambda flow: flow["totals"]["qty"]["owner"].__setitem__(1, "1"),
        lambda flow: flow["differences"].clear(),
    ]
    for change in changes:
        assert _check(_tampered(file, change)).returncode == 1
    _assert_every_change_shows(json.loads(file.read_text())["flows"][0])
    broken = file.with_name("broken.json")
    broken.write_text('{"format": "sorbus-certificate-1", "flows": 3}')
    assert _check(broken).returncode in (1, 2)
    assert "Traceback" not in _check(broken).stderr
    file.write_text(file.read_text().replace("reporting", "elsewhere", 1))
    assert "its SHA-256 is another one" in _check(file).stdout
    office.sorbus("reconcile", "thing-to-reporting", "--heal", status=1)


def test_a_moment_that_has_passed_cannot_be_certified(office: Office) -> None:
    assert office.sorbus("certify", "thing", "--as-of", "2020-01-01T00:00", status=2) == ""


def test_a_scheduled_reconciliation_runs_once_and_heals_where_the_map_says_so(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in office.env.items():
        monkeypatch.setenv(name, value)
    company.write(office, reconcile={"schedule": "daily 03:00", "on_difference": "heal"})
    loaded, state = load_map(office.folder / "map.yaml"), State(office.env["SORBUS_DATABASE"], f"{office.prefix}.")
    moments = [datetime.now(UTC) + timedelta(days=2)]
    scheduled = ScheduledReconciliations(loaded, Settings(), clock=lambda: moments[-1])
    execute(office.env["REPORTING_DSN"], "update things set qty = 777 where id = '60'")
    count = len(ReconcileStore(state).runs("thing-to-reporting"))
    for _ in range(3):
        scheduled.look()
        scheduled.wait(60)
    assert len(ReconcileStore(state).runs("thing-to-reporting")) == count + 1
    healed = "select qty::int as qty from things where id = '60'"
    wanted = rows_of(office.env["CRM_DSN"], "select qty from things where id = 60")
    office.until(lambda: rows_of(office.env["REPORTING_DSN"], healed) != wanted, 30, every=0.2)
    state.close()


def test_records_that_the_topic_does_not_hold_are_counted(office: Office) -> None:
    """A field with a rule can't be compared of a row that never became an event."""
    execute(office.env["CRM_DSN"], "insert into things (id, name, nums) values (900, 'odd', array[null::int])")
    office.until(lambda: not office.said("thing 900 of crm is a dead letter"), 30, every=0.2)
    (one,) = company.reconcile(office, "thing-to-books")["differences"]
    assert (one["kind"], one["cause"]) == ("stale", "dead_letter")
    execute(
        office.env["BOOKS_DSN"],
        "insert into their_things (no, name, label) values (900, 'odd', 'any'), (901, 'a', 'b')",
    )
    _publish_again(office, "thing", "100", "555")  # one more in the topic must not hide one that it lacks
    office.until(lambda: not rows_of(office.env["BOOKS_DSN"], "select no from their_things where no = 555"), 30, 0.1)
    report = company.reconcile(office, "thing-to-books")
    assert {one["id"]: one["cause"] for one in report["differences"]} == {"555": "unexplained", "901": "foreign"}
    (left,) = report["not_compared"]
    assert "those fields of about 1 record of the target" in left


def _publish_again(office: Office, data_type: str, id: str, other: str) -> None:
    """Puts a record's newest event into the topic once more, as another record's with an id as long.

    As the newest of all: what is older than the event before it the producer takes for its own, and deletes in time.
    """
    settings = Settings(kafka=office.env["SORBUS_KAFKA"])
    topic, reader = f"{office.prefix}.{data_type}", topic_reader(settings, "test")
    messages = [one for one in read_to_end(reader, all_partitions(reader, topic)) if one.key() == id.encode()]
    reader.close()
    producer = idempotent_producer(settings, "test")
    event = bytes_of(messages[-1].value()).replace(id.encode(), other.encode(), 1)
    event = with_version(event, int("9" * len(str(open_frame(event).version))))
    producer.produce(topic, event, other.encode(), headers=messages[-1].headers())
    producer.flush(15)
