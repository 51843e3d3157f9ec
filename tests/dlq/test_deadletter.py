"""A dead letter's headers: everything comes back, under the names that Kafka Connect's dead letters have (KIP-298)."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sorbus.deadletter import LETTER, DeadLetter
from sorbus.errors import PermanentError

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: not name.startswith(("sorbus.", "__connect.errors."))
)
NUMBERS = st.integers(-1, 2**62)
LETTERS = st.builds(
    DeadLetter,
    id=WORDS, data_type=WORDS, system=WORDS, flow=WORDS, reason=WORDS, message=WORDS, field=WORDS, rule=WORDS,
    words=WORDS, topic=WORDS, partition=NUMBERS, offset=NUMBERS, attempts=NUMBERS, first_at=NUMBERS, last_at=NUMBERS,
    record_id=st.binary(max_size=9), value=st.none() | st.binary(max_size=30),
    headers=st.lists(st.tuples(NAMES, st.binary(max_size=9)), max_size=4).map(tuple),
)  # fmt: skip
ERROR = PermanentError("it is too long", reason="TooLong", field="name", rule="value", words="value too long")


def refused(before: DeadLetter | None = None, headers: list[tuple[str, bytes | None]] | None = None) -> DeadLetter:
    return DeadLetter.refused(
        ERROR,
        data_type="gadget",
        system="books",
        flow="gadget-to-books",
        origin=("gadget", 2, 41),
        record_id=b"g1",
        value=b"\0\1",
        headers=headers or [],
        before=before,
    )


@given(LETTERS)
def test_a_letter_is_read_back_as_it_was_written(letter: DeadLetter) -> None:
    assert DeadLetter.from_message(letter.id.encode(), letter.value, letter.to_headers()) == letter


def test_the_headers_are_kafka_connects() -> None:
    headers = dict(refused().to_headers())
    connect = {name: content.decode() for name, content in headers.items() if name.startswith("__connect.errors.")}
    assert connect == {
        "__connect.errors.topic": "gadget",
        "__connect.errors.partition": "2",
        "__connect.errors.offset": "41",
        "__connect.errors.connector.name": "gadget-to-books",
        "__connect.errors.task.id": "0",
        "__connect.errors.stage": "TASK_PUT",
        "__connect.errors.exception.class.name": "sorbus.errors.PermanentError.TooLong",
        "__connect.errors.exception.message": "it is too long",
    }


def test_a_letter_is_named_after_where_its_record_came_from() -> None:
    assert refused().id == "gadget-to-books:gadget:2:41"


def test_a_requeue_in_vain_is_the_same_letter_with_one_more_attempt() -> None:
    first = replace(refused(), first_at=5, last_at=5, offset=7, id="gadget-to-books:gadget:2:7")
    second = refused(before=first)
    assert (second.id, second.offset, second.attempts, second.first_at) == (first.id, 7, 2, 5)
    assert second.last_at > 5


def test_the_records_own_headers_stay_and_ours_are_not_doubled() -> None:
    letter = refused(headers=[("mine", b"kept"), ("empty", None), (LETTER, b"old"), ("sorbus.reason", b"old")])
    assert letter.headers == (("mine", b"kept"), ("empty", b""))
    names = [name for name, _ in letter.to_headers()]
    assert len(names) == len(set(names))


@given(st.binary(max_size=9), st.none() | st.binary(max_size=9), st.lists(st.tuples(WORDS, st.none() | st.binary())))
def test_any_foreign_message_is_read(key: bytes, value: bytes | None, headers: list[tuple[str, bytes | None]]) -> None:
    assert DeadLetter.from_message(key, value, headers).value == value


def test_numbers_that_are_none_are_zero() -> None:
    for written in (b"-", b"--1", b"1.5", b"\xb2", "²".encode(), b""):
        assert DeadLetter.from_message(b"k", b"", [("sorbus.attempts", written)]).attempts == 0
