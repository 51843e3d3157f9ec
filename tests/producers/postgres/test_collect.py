"""The collector: however the stream is cut and restarted, the topics end with the tables' final state."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sorbus.connector import StaleRecordDeletion
from sorbus.producers.postgres.pgoutput import ProtocolError
from sorbus.producers.postgres.position import PostgresPosition
from tests.producers.postgres import wire
from tests.producers.postgres.model import LINES, ORDERS, RELATIONS, Database, Topics, collector
from tests.search import examples

_ID = st.integers(1, 4)
_NO = st.integers(1, 3)
_TEXT = st.none() | st.sampled_from(["a", "b", "c"])
_BIG = st.none() | st.sampled_from(["small", "a large text", "another large text"])
_STEP = st.one_of(
    st.tuples(st.just("put"), _ID, _TEXT, _BIG),
    st.tuples(st.just("keep"), _ID, _TEXT),
    st.tuples(st.just("move"), _ID, _ID, _TEXT),
    st.tuples(st.just("drop"), _ID),
    st.tuples(st.just("line"), _ID, _NO, _TEXT),
    st.tuples(st.just("line moves"), _ID, _NO, _ID),
    st.tuples(st.just("line goes"), _ID, _NO),
    st.tuples(st.just("truncate"), st.sampled_from([(True, True), (True, False), (False, True)])),
)
_TRANSACTIONS = st.lists(st.lists(_STEP, min_size=1, max_size=6), max_size=8)


def play(database: Database, step: tuple[object, ...]) -> bytes | None:
    match step:
        case ("put", int(id), str() | None as name, str() | None as big):
            return database.put_order(id, name, big)
        case ("keep", int(id), str() | None as name):
            return database.put_order(id, name, None, moved_from=id)
        case ("move", int(id), int(to), str() | None as name):
            return database.put_order(to, name, None, moved_from=id)
        case ("drop", int(id)):
            return database.drop_order(id)
        case ("line", int(id), int(no), str() | None as sku):
            return database.put_line((id, no), sku)
        case ("line moves", int(id), int(no), int(to)):
            return database.move_line((id, no), to)
        case ("line goes", int(id), int(no)):
            return database.drop_line((id, no))
        case ("truncate", (bool(orders), bool(lines))):
            return database.truncate(orders=orders, lines=lines)
    raise AssertionError(step)


def started() -> tuple[Database, Topics]:
    topics = Topics()
    topics.commit((), (), PostgresPosition("here", 900, 901, copied=("plain", "order")))
    return Database(), topics


def run(database: Database, topics: Topics, cuts: list[int], crashes: list[int]) -> None:
    """Streams the whole log, taking a batch at each cut and starting anew at each crash (counted in messages fed)."""
    fed = 0
    while True:
        found = collector(database, topics)
        crashed = False
        for message in database.stream(found.state.lsn):
            while not found.feed(message):
                changes, _, sweeps, *_ = found.take()
                topics.commit(changes, sweeps, found.state)
            fed += 1
            if fed in crashes:
                crashed = True
                break
            if found.state.resnapshot or fed in cuts:
                changes, rejects, sweeps, *_ = found.take()
                assert not rejects
                topics.commit(changes, sweeps, found.state)
                if found.state.resnapshot:
                    crashed = True
                    break
        if crashed:
            continue
        changes, _, sweeps, *_ = found.take()
        topics.commit(changes, sweeps, found.state)
        if not found.state.resnapshot:
            return


@pytest.mark.search
@settings(max_examples=examples(400), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    _TRANSACTIONS,
    st.lists(st.integers(1, 80), max_size=30),
    st.lists(st.integers(1, 120), max_size=6, unique=True),
)
def test_topics_end_with_the_tables_state_however_the_stream_is_cut_and_restarted(
    transactions: list[list[tuple[object, ...]]], cuts: list[int], crashes: list[int]
) -> None:
    database, topics = started()
    for steps in transactions:
        messages = [message for step in steps if (message := play(database, step)) is not None]
        database.transaction(messages)
    run(database, topics, cuts, crashes)
    assert topics.records() == database.records()


@given(_TRANSACTIONS, st.lists(st.integers(1, 80), max_size=10))
def test_a_restart_behind_the_end_publishes_nothing_twice(
    transactions: list[list[tuple[object, ...]]], cuts: list[int]
) -> None:
    database, topics = started()
    for steps in transactions:
        database.transaction([message for step in steps if (message := play(database, step)) is not None])
    run(database, topics, cuts, [])
    before = dict(topics.newest)
    run(database, topics, cuts, [])
    assert topics.newest == before


def test_a_changed_key_is_a_delete_and_an_upsert_in_this_order() -> None:
    database, topics = started()
    found = collector(database, topics)
    first = [wire.begin(2000, 1, 1), wire.insert(ORDERS, [b"1", b"a", None]), wire.commit(2000, 2005, 1)]
    moved = wire.update(ORDERS, [b"2", b"a", None], [b"1", None, None])
    for message in [RELATIONS[ORDERS], *first, wire.begin(2010, 1, 2), moved, wire.commit(2010, 2015, 1)]:
        found.feed(message)
    changes = [change for change in found.take()[0] if change.data_type == "plain"]
    assert [(change.id, change.version, change.data is None) for change in changes] == [
        (b"1", 2000, False),
        (b"1", 2010, True),
        (b"2", 2011, False),
    ]


def test_a_truncate_is_a_batch_of_its_own_beginning() -> None:
    database, topics = started()
    found = collector(database, topics)
    for message in (RELATIONS[ORDERS], wire.begin(2000, 1, 1), wire.insert(ORDERS, [b"1", b"a", None])):
        assert found.feed(message)
    assert not found.feed(wire.truncate([ORDERS]))
    assert [change.id for change in found.take()[0] if change.data_type == "plain"] == [b"1"]
    assert found.feed(wire.truncate([ORDERS]))
    assert found.feed(wire.insert(ORDERS, [b"2", b"a", None]))
    changes, _, sweeps, *_ = found.take()
    assert {sweep.data_type for sweep in sweeps} == {"plain", "order"}
    assert all(isinstance(sweep, StaleRecordDeletion) and sweep.version > 2000 for sweep in sweeps)
    assert max(sweep.version for sweep in sweeps) < min(change.version for change in changes if change.id == b"2")


def test_truncating_the_items_alone_copies_the_records_again() -> None:
    database, topics = started()
    found = collector(database, topics)
    for message in (RELATIONS[LINES], wire.begin(2000, 1, 1), wire.truncate([LINES]), wire.commit(2000, 2005, 1)):
        assert found.feed(message)
    found.take()
    assert found.state.resnapshot == ("order",)


def test_a_row_that_can_not_be_canonical_is_a_reject_with_the_raw_row() -> None:
    database, topics = started()
    found = collector(database, topics)
    for message in (
        RELATIONS[ORDERS],
        wire.begin(2000, 1, 1),
        wire.insert(ORDERS, [b"99999999999999999999", b"a", None]),
    ):
        found.feed(message)
    rejects = found.take().rejects
    (reject,) = (reject for reject in rejects if reject.data_type == "plain")
    assert json.loads(reject.raw) == {"id": "99999999999999999999", "name": "a", "big": None}
    assert reject.error.field == "id"


def test_a_key_that_is_itself_an_unchanged_large_value_is_taken_from_the_old_row() -> None:
    database, topics = started()
    found = collector(database, topics)
    database.orders[5] = ("new", "a large text")
    message = wire.update(ORDERS, ["u", b"new", "u"], [b"5", None, None])
    for each in (RELATIONS[ORDERS], wire.begin(2000, 1, 1), message, wire.commit(2000, 2005, 1)):
        found.feed(each)
    changes = [change for change in found.take()[0] if change.data_type == "plain"]
    assert [(change.id, change.data is None) for change in changes] == [(b"5", False)]
    topics.commit(changes, (), found.state)
    assert topics.records() == {("plain", b"5"): {"id": 5, "name": "new", "big": "a large text"}}


@pytest.mark.parametrize("state", [PostgresPosition("s", 1, 2), PostgresPosition("s", 1, 2, 3, 4, ("a",), ("b",))])
def test_a_position_is_read_back(state: PostgresPosition) -> None:
    assert PostgresPosition.from_position(json.loads(json.dumps(state.to_position()))) == state


@pytest.mark.parametrize("lsn", [2**62 + 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_log_position_that_no_server_can_have_reached_ends_the_session(lsn: int) -> None:
    """A version is made of it: one that doesn't fit into 64 bits could not be published, nor one after it."""
    topics = Topics()
    topics.commit((), (), PostgresPosition("here", 900, 901, copied=("plain", "order")))
    found = collector(Database(), topics)
    with pytest.raises(ProtocolError, match="no server can have reached"):
        found.feed(wire.begin(lsn, 0, 1))
    found = collector(Database(), topics)
    found.feed(wire.begin(1000, 0, 1))
    with pytest.raises(ProtocolError, match="no server can have reached"):
        found.feed(wire.commit(1000, lsn, 0))
