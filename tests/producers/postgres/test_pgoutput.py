"""Replication messages: decoded as an independent encoder wrote them; anything else is a ProtocolError, no more."""

from __future__ import annotations

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.producers.postgres.pgoutput import (
    UNCHANGED,
    Begin,
    Commit,
    Delete,
    Insert,
    Keepalive,
    PartialRow,
    ProtocolError,
    Relation,
    RelationColumn,
    Truncate,
    Update,
    WalData,
    decode,
    decode_frame,
    lsn_text,
    parse_lsn,
    status_update,
)
from tests.producers.postgres import wire

_UINT = st.integers(0, (1 << 32) - 1)
_LSN = st.integers(0, (1 << 64) - 1)
_TIME = st.integers(-(1 << 61), 1 << 61)
_NAME = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
_CELL: st.SearchStrategy[wire.Cell] = st.none() | st.binary(max_size=300) | st.just("u")
_ROW = st.lists(_CELL, max_size=300)


def expected(cells: list[wire.Cell]) -> list[object]:
    return [UNCHANGED if cell == "u" else cell for cell in cells]


@given(_LSN, _TIME, _UINT)
def test_begin_and_commit(lsn: int, moment: int, xid: int) -> None:
    assert decode(wire.begin(lsn, moment, xid)) == Begin(lsn, moment, xid)
    assert decode(wire.commit(lsn, lsn ^ 1, moment)) == Commit(lsn, lsn ^ 1, moment)


@given(
    _UINT,
    _NAME | st.just(""),
    _NAME,
    st.lists(st.tuples(_NAME, _UINT, st.booleans()), max_size=20),
    st.sampled_from("dnfi"),
)
def test_relation(oid: int, schema: str, name: str, columns: list[tuple[str, int, bool]], identity: str) -> None:
    found = decode(wire.relation(oid, schema, name, columns, identity))
    assert found == Relation(
        oid, schema or "pg_catalog", name, identity, tuple(RelationColumn(*column) for column in columns)
    )


@given(_UINT, _ROW, _ROW, st.sampled_from("KO"))
def test_rows(oid: int, new: list[wire.Cell], old: list[wire.Cell], kind: str) -> None:
    assert decode(wire.insert(oid, new)) == Insert(oid, expected(new))
    assert decode(wire.update(oid, new)) == Update(oid, None, False, expected(new))
    assert decode(wire.update(oid, new, old, kind)) == Update(oid, expected(old), kind == "O", expected(new))
    assert decode(wire.delete(oid, old, kind)) == Delete(oid, expected(old), kind == "O")


@given(_UINT, _ROW)
def test_a_row_with_an_unchanged_value_is_told_apart_by_its_type(oid: int, new: list[wire.Cell]) -> None:
    found = decode(wire.insert(oid, new))
    assert isinstance(found, Insert)
    assert (type(found.new) is PartialRow) == ("u" in new)


@given(st.lists(_UINT, max_size=20))
def test_truncate(oids: list[int]) -> None:
    assert decode(wire.truncate(oids)) == Truncate(tuple(oids))


@pytest.mark.parametrize("message", [b"Y\0\0\0\1", b"O\0\0\0\0\0\0\0\1x\0", b"M\0whatever"])
def test_messages_that_change_nothing_for_us_are_none(message: bytes) -> None:
    assert decode(message) is None


@given(st.binary(max_size=300), st.sampled_from([b"", *(bytes([kind]) for kind in b"IUDBCRTYOM")]))
def test_arbitrary_bytes_only_raise_protocol_errors(garbage: bytes, head: bytes) -> None:
    try:
        decode(head + garbage)
    except ProtocolError:
        return


@given(_UINT, _ROW, st.data())
def test_a_message_cut_anywhere_is_a_protocol_error(oid: int, new: list[wire.Cell], data: st.DataObject) -> None:
    whole = wire.update(oid, new, [b"1"])
    with pytest.raises(ProtocolError):
        decode(whole[: data.draw(st.integers(0, len(whole) - 1))])


def test_a_binary_column_is_refused() -> None:
    with pytest.raises(ProtocolError, match="only text"):
        decode(b"I\0\0\0\1N\0\1b\0\0\0\1x")


@given(_LSN, _LSN, st.binary(min_size=1, max_size=50), st.booleans())
def test_frames(start: int, end: int, message: bytes, must_reply: bool) -> None:
    assert decode_frame(b"w" + pack(">QQq", start, end, 0) + message) == WalData(start, end, message)
    assert decode_frame(b"k" + pack(">QqB", end, 0, must_reply)) == Keepalive(end, must_reply)


@given(st.binary(max_size=40))
def test_arbitrary_frames_only_raise_protocol_errors(garbage: bytes) -> None:
    try:
        decode_frame(garbage)
    except ProtocolError:
        return


@given(_LSN)
def test_an_lsns_text_is_read_back(lsn: int) -> None:
    assert parse_lsn(lsn_text(lsn)) == lsn


def test_a_status_update_is_what_the_protocol_says() -> None:
    assert status_update(7, wire.EPOCH_2000 + 5) == b"r" + pack(">QQQqB", 7, 7, 7, 5, 0)
