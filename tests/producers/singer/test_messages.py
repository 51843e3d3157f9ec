"""A tap's lines: exact, and never an exception."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sorbus.producers.singer.json_schema import readers_of
from sorbus.producers.singer.messages import (
    BrokenLine,
    NoMessage,
    OverlongLine,
    RecordMessage,
    StateMessage,
    parse_line,
)

RECORD = b'{"type": "RECORD", "stream": "a", "record": {"id": 1, "price": %s}}'


@given(st.decimals(allow_nan=False, allow_infinity=False, places=12))
def test_numbers_keep_every_digit(number: Decimal) -> None:
    found = parse_line(RECORD % format(number, "f").encode())
    assert isinstance(found, RecordMessage)
    assert Decimal(found.record["price"]) == number


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda of: st.lists(of) | st.dictionaries(st.text(), of)
    )
)
def test_a_state_is_handed_back_as_it_was(value: object) -> None:
    found = parse_line(json.dumps({"type": "STATE", "value": value}).encode())
    assert isinstance(found, StateMessage)
    assert json.loads(found.text) == value


def test_numbers_in_a_state_keep_every_digit() -> None:
    text = '{"a":{"replication_key_value":12345678901234567890.12345678901234567890}}'
    assert parse_line(b'{"type": "STATE", "value": ' + text.encode() + b"}") == StateMessage(text)


@given(st.binary(max_size=300))
def test_no_line_stops_the_reader(line: bytes) -> None:
    parse_line(line)
    parse_line(b'{"type": "RECORD", "stream": "a", "record": ' + line)
    parse_line(OverlongLine(line, 1 << 30, ""))


@pytest.mark.parametrize(
    ("line", "stream"),
    [
        (b'{"type": "RECORD", "stream": "a", "record": {"id": 1', "a"),
        (b'{"type": "RECORD", "stream": "a", "record": {"id": "\xff"}}', "a"),
        (b'{"type": "RECORD", "stream": "a", "record": [1]}', "a"),
        (b'{"type": "RECORD", "stream": "a", "rec{"type": "RECORD", "stream": "b", "record": {}}', ""),
        (b'INFO page 7{"type": "RECORD", "stream": "a", "record": {}}', ""),
        (b'{"type": "STATE", "value": {"a": 1', ""),
        (b'{"type": "SCHEMA", "stream": "a"}', ""),
    ],
)
def test_a_broken_line_is_of_a_record_only_where_nothing_else_can_be_in_it(line: bytes, stream: str) -> None:
    found = parse_line(line)
    assert isinstance(found, BrokenLine)
    assert found.stream == stream


@pytest.mark.parametrize("line", [b"INFO starting", b"", b"7", b'{"level": "info"}', b'{"type": "LOG", "stream": "a"}'])
def test_a_log_line_is_no_message(line: bytes) -> None:
    assert isinstance(parse_line(line), NoMessage)


@pytest.mark.parametrize("digits", ["123456789", "1234567", "1234560001"])
def test_a_time_finer_than_a_microsecond_is_refused_unless_a_rule_reads_it(digits: str) -> None:
    schema = {"properties": {"at": {"type": "string", "format": "date-time"}}}
    text = f"2026-01-01T00:00:00.{digits}Z"
    with pytest.raises(ValueError, match="finer than a microsecond"):
        readers_of(schema, {}, "")["at"](text)
    assert readers_of(schema, {}, "", {"at"})["at"](text) == text
    assert readers_of(schema, {}, "")["at"]("2026-01-01T00:00:00.123456000Z") == datetime(
        2026, 1, 1, microsecond=123456, tzinfo=UTC
    )
