"""The letters' index: what the topics say, whoever reads them, however often."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest
from confluent_kafka import Producer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sorbus.audit import AuditFilter, AuditTrail
from sorbus.bus.kafka import admin, base_config
from sorbus.deadletter import CLOSED, CLOSED_BY, DeadLetter
from sorbus.dlq.store import LetterFilter, LetterStore, States
from sorbus.errors import TransientError, missing
from sorbus.ops.runtime.topics import plan_topics, topics_of
from sorbus.state.database import State
from tests.consumers.line import FLOW, Line, eventually
from tests.dlq.post import Post
from tests.topics import delete_topic

ALL = LetterFilter(state="all")


def lives(state: State) -> dict[str, str]:
    """Every letter's record and state."""
    return {letter.dead.record_id.decode(): letter.state for letter in LetterStore(state).page(ALL, most=10_000)}


def test_a_letter_comes_back_as_it_was_written(post: Post, state: State) -> None:
    letter = replace(post.letter(1), attempts=3, rule="value | upper", headers=(("mine", b"\0\xff"), ("empty", b"")))
    post.write([letter])
    assert post.index().catch_up() == 1
    found = LetterStore(state).get(letter.id)
    assert found is not None
    assert found.dead == letter
    assert (found.version, found.state, found.cause) == (1, "open", letter.cause)
    assert post.index().catch_up() == 0, "nothing is read twice"


def test_what_closes_a_letter_is_remembered_and_its_bytes_are_not(post: Post, state: State) -> None:
    ways = ["requeued", "superseded", "discarded", "forgotten", "by hand"]
    letters = [post.letter(number) for number in range(1, 7)]
    post.write(letters)
    post.index().catch_up()
    for letter, how in zip(letters, ways, strict=False):
        post.close(letter, how, by=9 if how == "superseded" else None)
        post.close(letter, "requeued")  # too late
    post.index().catch_up()
    assert lives(state) == {"g1": "landed", "g2": "superseded", "g3": "discarded", "g5": "discarded", "g6": "open"}
    superseded = LetterStore(state).get(letters[1].id)
    assert superseded is not None
    assert superseded.superseded_by == 9
    assert (superseded.dead.value, superseded.dead.headers) == (None, ())
    assert LetterStore(state).count(LetterFilter()) == 1


def test_a_sources_letter_that_was_sent_back_lands_by_a_new_state(post: Post, state: State) -> None:
    asked, other = (replace(post.letter(number), flow="", id=f"crm:gadget:g{number}") for number in (1, 2))
    post.write([asked, other])
    post.index().catch_up()
    state.run(b"update letter set state = 'requeued' where id = %s", [asked.id])
    for letter in (asked, other):
        post.close(letter, "superseded", by=7)
    post.index().catch_up()
    assert lives(state) == {"g1": "landed", "g2": "superseded"}


def test_a_letter_opens_again_when_its_requeue_was_in_vain(post: Post, state: State) -> None:
    letter = post.letter(1)
    post.write([letter])
    post.index().catch_up()
    state.run(b"update letter set state = 'requeued'")
    post.write([letter.again(1, letter.first_at)])
    post.index().catch_up()
    found = LetterStore(state).get(letter.id)
    assert found is not None
    assert (found.state, found.dead.attempts) == ("open", 2)
    post.close(letter, "requeued")
    post.write([letter.again(2, letter.first_at)])  # of a source: the same record is rejected once more
    post.index().catch_up()
    assert lives(state) == {"g1": "open"}


def test_a_rebuilding_keeps_what_people_did_and_drops_what_is_gone(post: Post, state: State) -> None:
    letters = [post.letter(number) for number in range(1, 5)]
    post.write(letters)
    post.index().catch_up()
    state.run(b"insert into letter_assignment (id, person, by) values (%s, 'Ada', 'Bo')", [letters[0].id])
    state.run(b"update letter set state = 'requeueing', frame = 'edited' where id = %s", [letters[1].id])
    post.close(letters[2], "requeued")
    with state.connection() as connection:
        connection.execute(
            "create temp table ghost on commit drop as select * from letter where id = %s", [letters[3].id]
        )
        connection.execute("update ghost set id = 'ghost'")
        connection.execute("insert into letter select * from ghost")
    assert post.index().rebuild() == 5
    assert LetterStore(state).get("ghost") is None, "Kafka has cleaned away what closed it"
    assert lives(state) == {"g1": "open", "g2": "requeueing", "g3": "landed", "g4": "open"}
    edited = LetterStore(state).get(letters[1].id)
    assert edited is not None
    assert edited.dead.value == b"edited", "an edit on its way stays"
    assert [letter.id for letter in LetterStore(state).page(LetterFilter(assigned_to="Ada"))] == [letters[0].id]


def test_a_dropped_index_is_read_again(post: Post, state: State) -> None:
    post.write(post.letter(number) for number in range(1, 4))
    post.index().catch_up()
    state.run(b"truncate letter, letter_position")
    assert post.index().catch_up() == 3
    assert len(lives(state)) == 3


def test_a_position_that_nobody_has_moved_for_a_month_is_not_trusted(post: Post, state: State) -> None:
    post.write([post.letter(1)])
    post.index().catch_up()
    state.run(b"update letter_position set read_at = now() - interval '30 days'")
    assert post.index().catch_up() == 1


def test_a_position_was_moved_now_at_the_latest(post: Post, state: State) -> None:
    """The database's clock was ahead for a moment; else a year of absence would go unnoticed."""
    post.write([post.letter(1)])
    post.index().catch_up()
    state.run(b"update letter_position set read_at = read_at + interval '1 year'")
    assert post.index().catch_up() == 0
    assert state.run(b"select bool_and(read_at <= now()) from letter_position") == [(True,)]


def test_a_topic_that_was_made_anew_is_read_from_its_beginning(line: Line, post: Post, state: State) -> None:
    post.write([post.letter(1)])
    post.index().catch_up()
    kafka = admin(line.settings)
    delete_topic(kafka, post.topic)
    eventually(lambda: post.topic not in kafka.list_topics(timeout=10).topics, "the topic's end")
    for step in plan_topics(kafka, topics_of(line.loaded.map)):
        assert step.apply is not None
        step.apply()
    post.write([post.letter(2), post.letter(3)])
    post.index().catch_up()
    assert lives(state) == {"g2": "open", "g3": "open"}


def test_many_may_read_at_once(post: Post, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sorbus.dlq.index.BATCH", 50)
    letters = [post.letter(number) for number in range(1, 1001)]
    post.write(letters)
    for letter in letters[::2]:
        post.close(letter, "requeued")
    errors: list[BaseException] = []

    def read() -> None:
        try:
            post.index().catch_up()
        except BaseException as error:  # noqa: BLE001 - shown below
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    post.index().rebuild()
    for thread in threads:
        thread.join(60)
    assert errors == []
    post.index().catch_up()
    assert sorted(lives(state).values()) == ["landed"] * 500 + ["open"] * 500


def test_many_who_ask_while_kafka_is_away_share_one_answer(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    index, calls, answer = post.index(), list[int](), threading.Event()

    def away() -> dict[tuple[str, int], str]:
        calls.append(1)
        assert answer.wait(20)
        raise missing("kafka", TransientError("Kafka is away"))

    monkeypatch.setattr(index, "_parts", away)
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(index.catch_up) for _ in range(20)]
        eventually(lambda: all(each.running() for each in asked) and calls, "all to have asked")
        answer.set()
        failures = [each.exception(20) for each in asked]
    assert all(isinstance(each, TransientError) and each.dependency == "kafka" for each in failures), failures
    assert len(calls) < 5, "few who were not yet waiting may have asked once more"

    answer.clear()
    with ThreadPoolExecutor(1) as pool:
        known = len(calls)
        last = pool.submit(index.catch_up)
        eventually(lambda: len(calls) > known, "one who asks whether Kafka is back")
        with pytest.raises(TransientError, match="Kafka is away"):
            index.catch_up()
        assert not last.done(), "nobody has waited for it"
        answer.set()
    monkeypatch.undo()
    post.write([post.letter(1)])
    assert index.catch_up() == 1


def test_what_somebody_begins_to_read_again_while_we_read_is_read_to_its_end(
    post: Post, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = [post.letter(number) for number in range(1, 21)]
    post.write(letters)
    other, begun = post.index(), list[int]()

    def die(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(other, "catch_up", die)

    def begin_again(count: int) -> None:
        if not begun:
            begun.append(count)
            with pytest.raises(KeyboardInterrupt):
                other.rebuild()

    post.index().catch_up(begin_again)
    post.index().catch_up()
    assert begun
    assert lives(state) == {f"g{number}": "open" for number in range(1, 21)}


def test_groups_and_pages_tell_the_same_as_a_count_by_hand(line: Line, post: Post, state: State) -> None:
    letters = [post.letter(number, reason=f"R{number % 3}") for number in range(1, 101)]
    post.write(letters)
    post.index().catch_up()
    store = LetterStore(state)
    groups = store.groups(LetterFilter())
    assert {(group.reason, group.count) for group in groups} == {("R0", 33), ("R1", 34), ("R2", 33)}
    assert groups[0].reason == "R1"
    assert groups[0].example == letters[0].id
    assert store.groups(LetterFilter(reason="R2", flow=FLOW, data_type="gadget", field="name"))[0].count == 33
    assert store.groups(LetterFilter(flow="another")) == []
    cause = LetterFilter(cause=groups[0].cause)
    seen, after = list[str](), None
    while page := store.page(cause, after, most=7):
        seen += [letter.id for letter in page]
        after = page[-1].spot
    assert seen == [letter.id for letter in letters if letter.reason == "R1"]
    with psycopg.connect(line.env["SORBUS_DATABASE"]) as connection:
        count = connection.execute(f"select count(*) from {state.schema}.letter".encode()).fetchone()
    assert count == (100,)
    assert store.count(LetterFilter()) == 100
    assert [letter.id for letter in store.of_record("gadget", "g7")] == [letters[6].id]
    (only,) = store.page(LetterFilter(record="g7"))
    assert only.id == letters[6].id


@pytest.mark.parametrize("chosen", ["open", "requeued", "closed", "landed", "all"])
def test_letters_are_chosen_by_their_state(post: Post, state: State, chosen: States) -> None:
    letters = [post.letter(number) for number in range(1, 5)]
    post.write(letters)
    post.close(letters[0], "requeued")
    post.close(letters[1], "superseded")
    post.index().catch_up()
    state.run(b"update letter set state = 'requeued' where id = %s", [letters[2].id])
    wanted = {"open": 1, "requeued": 1, "closed": 2, "landed": 1, "all": 4}
    assert LetterStore(state).count(LetterFilter(state=chosen)) == wanted[chosen]


def test_the_trail_tells_of_letters_that_closed_by_themselves(post: Post, state: State) -> None:
    letters = [post.letter(number) for number in range(1, 6)]
    post.write(letters)
    post.index().catch_up()
    for letter in letters[:2]:
        post.close(letter, "requeued")
    post.close(letters[2], "superseded")
    post.close(letters[3], "discarded")
    post.index().catch_up()
    post.index().rebuild()
    trail = AuditTrail(state)
    told = [(entry.who, entry.action, entry.subject) for entry in trail.page()]
    assert told == [("Sorbus", "superseded", letters[2].id), ("Sorbus", "landed", "2 letters")]
    (part,) = trail.page(filter=AuditFilter(subject=letters[0].id))
    assert (part.action, part.data_type, part.record) == ("landed", "gadget", "g1")


@pytest.mark.parametrize("by", [b"--5", b"9" * 5000, b"\xff", b"5.0"])
def test_a_closing_with_an_odd_version_closes_all_the_same(line: Line, post: Post, state: State, by: bytes) -> None:
    letters = [post.letter(number) for number in (1, 2)]
    post.write(letters)
    producer = Producer(base_config(line.settings, "foreign"))
    producer.produce(post.topic, None, letters[0].id, headers=[(CLOSED, b"superseded"), (CLOSED_BY, by)])
    assert producer.flush(30) == 0
    post.index().catch_up()
    found = {
        letter.id: (letter.state, letter.superseded_by) for letter in LetterStore(state).page(LetterFilter(state="all"))
    }
    assert found == {letters[0].id: ("superseded", None), letters[1].id: ("open", None)}


def test_a_long_key_is_a_letter_too_and_is_closed_by_it(line: Line, post: Post, state: State) -> None:
    letter = post.letter(1)
    keys = [os.urandom(6000).hex().encode() for _ in range(2)]
    producer = Producer(base_config(line.settings, "foreign"))
    for key in (*keys, letter.id.encode()):
        producer.produce(post.topic, letter.value, key, headers=letter.to_headers())
    producer.produce(post.topic, None, keys[0], headers=[(CLOSED, b"discarded")])
    assert producer.flush(30) == 0
    post.index().catch_up()
    assert {found.key for found in LetterStore(state).page(LetterFilter())} == {keys[1], letter.id.encode()}


HEADERS = st.lists(st.tuples(st.text(st.characters(codec="utf-8"), max_size=5), st.binary(max_size=5)), max_size=5)
WEIRD = st.sampled_from([b"99999999999999999999999", b"-5", b"x", b"\0", b"", b"9223372036854775807"])
OURS = st.sampled_from(["sorbus.first_at", "sorbus.attempts", "__connect.errors.offset", "sorbus.flow", "ce_id"])


@given(st.binary(min_size=1, max_size=9), st.binary(max_size=9), HEADERS, st.lists(st.tuples(OURS, WEIRD), max_size=4))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_others_write_there_is_a_letter(
    line: Line, post: Post, key: bytes, value: bytes, headers: list[tuple[str, bytes]], ours: list[tuple[str, bytes]]
) -> None:
    producer = Producer(base_config(line.settings, "foreign"))
    headers = [(name.replace("\0", ""), content) for name, content in headers]
    producer.produce(post.topic, value, key, headers=[*headers, *ours])
    assert producer.flush(30) == 0
    index = post.index()
    index.catch_up()
    index.close()
    id = DeadLetter.from_message(key, value, []).id.replace("\0", "\ufffd")
    found = LetterStore(line.state).get(id)
    assert found is not None
    assert found.dead.value == value
