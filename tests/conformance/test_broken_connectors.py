"""The conformance suite finds what is wrong with a connector: the example's, broken in one place each time."""

from __future__ import annotations

import importlib
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from sorbus.conformance import ConsumerConformance, ProducerConformance
from sorbus.conformance.consumer import Delivering
from sorbus.conformance.in_memory_bus import InMemoryBus
from sorbus.errors import SorbusError

CONNECTOR = Path(__file__).parents[2] / "examples" / "connector"


class Fault(NamedTuple):
    """What is written in place of what, and the test that has to fail then."""

    right: str
    wrong: str
    test: str


CONSUMERS = {
    "knows no versions": Fault("excluded.version > version or", "true or", "test_an_older_version_changes_nothing"),
    "forgets deletes": Fault(
        "file.execute(WRITE, [self._resource, one.id.decode(), one.version, record, again])",
        "file.execute(WRITE, [self._resource, one.id.decode(), one.version, record, again])\n"
        '                        file.execute("delete from records where record is null")',
        "test_a_deleted_record_is_gone_and_stays_gone",
    ),
    "ignores replays": Fault(
        "one.version, record, again]", "one.version, record, False]", "test_a_replay_heals_what_somebody_changed"
    ),
    "writes older states in a replay": Fault(
        "excluded.version = version and ?5", "?5", "test_an_older_version_changes_nothing_in_a_replay_either"
    ),
    "drops what is refused": Fault(
        'refusals.append(RejectedDelivery(place, PermanentError(f"refused: {error}", reason="refused")))',
        "pass",
        "test_one_bad_record_never_holds_the_others",
    ),
    "refuses another one": Fault(
        "RejectedDelivery(place, ", "RejectedDelivery(0, ", "test_one_bad_record_never_holds_the_others"
    ),
    "refuses the whole batch": Fault(
        "except sqlite3.IntegrityError as error:",
        "except KeyError as error:",
        "test_what_is_refused_leaves_the_older_state",
    ),
    "makes dead letters while it can't reach its target": Fault(
        "raise TransientError(",
        'return [RejectedDelivery(0, PermanentError("away", reason="away"))]\n            raise TransientError(',
        "test_a_target_that_is_away_is_a_transient_fault",
    ),
    "mixes ids up": Fault("one.id.decode()", "one.id.decode().lower()", "test_ids_that_differ_stay_apart"),
    "cuts text": Fault(
        "json.dumps(self._fields(one), default=str)",
        "json.dumps({name: str(value)[:999] for name, value in self._fields(one).items()})",
        "test_long_text_arrives_whole",
    ),
    "always finds something to make": Fault("if file.exists()", "if False", "test_a_second_plan_finds_nothing_to_do"),
}
PRODUCERS = {
    "doesn't see deletes": Fault("known.keys() | rows.keys()", "rows.keys()", "test_changes_follow"),
    "has versions that don't grow": Fault("max(version + 1, now)", "1", "test_changes_follow"),
    "remembers nothing": Fault(
        "{one.id: (one.version, one.data) for one in published}",
        "{one.id: (one.version, None) for one in published}",
        "test_what_did_not_change_is_not_published_again",
    ),
    "holds all for one bad record": Fault(
        "except (PermanentError, ValueError) as error:",
        "except KeyError as error:",
        "test_one_bad_record_never_holds_the_others",
    ),
    "leaves a mended record's letter open": Fault(
        "known[id] = newer, text", "pass", "test_a_record_that_went_bad_keeps_its_last_state_until_it_is_mended"
    ),
    "takes a source that is away for an empty one": Fault(
        "raise TransientError(",
        "return []\n            raise TransientError(",
        "test_a_source_that_is_away_is_a_transient_fault",
    ),
    "publishes nothing again": Fault(
        "(version, None) for id, (version, _)",
        "(version, data) for id, (version, data)",
        "test_a_recopy_gives_every_record_again",
    ),
}


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Loads a module of the example's: its own tests say how to look into a SQLite file and how to break it."""
    monkeypatch.syspath_prepend(str(CONNECTOR))
    yield importlib.import_module
    for name in ("test_target", "test_source", "sorbus_sqlite", "sorbus_sqlite.target", "sorbus_sqlite.source"):
        sys.modules.pop(name, None)


def broken(module: str, fault: Fault | None) -> dict[str, object]:
    """The names of one of the example's modules, with a fault in it."""
    text = (CONNECTOR / "sorbus_sqlite" / f"{module}.py").read_text("utf-8")
    if fault is not None:
        assert fault.right in text, "the example was changed: write the fault anew"
        text = text.replace(fault.right, fault.wrong)
    names: dict[str, object] = {"__name__": f"sorbus_sqlite.{module}"}
    exec(compile(text, f"{module}.py", "exec"), names)
    return names


@contextmanager
def found() -> Iterator[None]:
    """Passes if the suite's test fails."""
    with pytest.raises((AssertionError, pytest.fail.Exception, SorbusError, sqlite3.Error)):
        yield


@pytest.mark.parametrize("what", CONSUMERS)
def test_a_broken_consumer_is_found(what: str, example: Callable[[str], ModuleType], tmp_path: Path) -> None:
    fault = CONSUMERS[what]
    for place, wrong in enumerate((None, fault)):
        folder = tmp_path / str(place)
        folder.mkdir()
        target = example("test_target").Things(folder)
        target.connector = broken("target", wrong)["SqliteConsumer"]
        target.many = 50
        target.prepare()
        line = Delivering(target)
        test = getattr(ConsumerConformance(), fault.test)
        given = target if "plan" in fault.test else line
        if wrong is None:
            test(given)
        else:
            with found():
                test(given)
        line.close()


@pytest.mark.parametrize("what", PRODUCERS)
def test_a_broken_producer_is_found(what: str, example: Callable[[str], ModuleType], tmp_path: Path) -> None:
    fault = PRODUCERS[what]
    for place, wrong in enumerate((None, fault)):
        folder = tmp_path / str(place)
        folder.mkdir()
        source = example("test_source").Things(folder)
        source.connector = broken("source", wrong)["SqliteProducer"]
        source.patience = 1.0 if wrong else 30.0
        source.prepare()
        tape = InMemoryBus(source)
        test = getattr(ProducerConformance(), fault.test)
        if wrong is None:
            test(tape)
        else:
            with found():
                test(tape)
        tape.close()
