"""Change events: what we write is what Avro and CloudEvents say, and frames of strangers are undecodable, no more."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sorbus.avro.decode import Undecodable, read_record
from sorbus.avro.encode import encoder
from sorbus.errors import SchemaError
from sorbus.event import (
    confluent_prefix,
    data_at,
    envelope_schema,
    event_encoder,
    occurred_at,
    open_frame,
    record_inside,
    single_object_prefix,
)
from sorbus.schema import FieldType, parse_schema
from tests.avro.shapes import Example, examples

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROS = st.integers(-62_000_000_000_000_000, 250_000_000_000_000_000)
_IDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=80).map(str.encode) | st.binary(
    min_size=4000, max_size=4200
).map(lambda raw: raw.hex().encode())
_VERSIONS = st.integers(0, (1 << 63) - 1)
_PREFIXES = st.integers(0, (1 << 32) - 1).map(confluent_prefix) | st.binary(min_size=8, max_size=8).map(
    lambda fingerprint: b"\xc3\x01" + fingerprint
)


@settings(max_examples=50, deadline=None)
@given(examples(), _PREFIXES, _IDS, _VERSIONS, _MICROS, _MICROS, st.booleans())
def test_fastavro_reads_an_event_by_the_envelopes_schema(
    example: Example, prefix: bytes, id: bytes, version: int, occurred: int, captured: int, deleted: bool
) -> None:
    schema, record = example
    data = None if deleted else encoder(FieldType("record", fields=schema.fields))(record)
    frame = event_encoder(prefix, "crm", "customer")(id, version, occurred, captured, data)[0]
    assert frame.startswith(prefix)
    envelope = fastavro.schemaless_reader(io.BytesIO(frame[len(prefix) :]), envelope_schema(schema).json, None)
    assert (envelope["id"], envelope["op"], envelope["version"], envelope["source"], envelope["event_id"]) == (
        id.decode(),
        "delete" if deleted else "upsert",
        version,
        "crm",
        f"customer/{id.decode()}@{version}",
    )
    assert envelope["occurred_at"] == _EPOCH + timedelta(microseconds=occurred)
    assert envelope["captured_at"] == _EPOCH + timedelta(microseconds=captured)
    assert (envelope["data"] is None) == deleted


@settings(max_examples=50, deadline=None)
@given(examples(), _PREFIXES, _IDS, _VERSIONS, _MICROS)
def test_a_frames_head_and_data_are_found_without_its_schema(
    example: Example, prefix: bytes, id: bytes, version: int, occurred: int
) -> None:
    schema, record = example
    data = encoder(FieldType("record", fields=schema.fields))(record)
    frame = event_encoder(prefix, "crm", "customer")(id, version, occurred, 0, data)[0]
    head = open_frame(frame)
    assert head[:4] == (prefix, id, False, version)
    assert occurred_at(frame, head.at) == occurred
    assert frame[data_at(frame, head.at) :] == data
    assert read_record(schema, frame, data_at(frame, head.at)) == (record, len(frame))


def test_a_deletes_frame_says_so_and_holds_no_record() -> None:
    frame = event_encoder(confluent_prefix(7), "crm", "customer")(b"17", 5, 1, 2, None)[0]
    head = open_frame(frame)
    assert head.deleted
    with pytest.raises(Undecodable, match="without a record"):
        data_at(frame, head.at)


@given(st.binary(max_size=60), st.sampled_from([b"", b"\0", b"\0\0\0\0\1", b"\xc3\x01", b"\xc3\x01" + b"f" * 8]))
def test_garbage_is_undecodable_and_nothing_else(garbage: bytes, head: bytes) -> None:
    frame = head + garbage
    try:
        opened = open_frame(frame)
        assert len(opened.id) <= len(frame)
        assert data_at(frame, opened.at) <= len(frame)
        occurred_at(frame, opened.at)
    except Undecodable:
        return


@given(st.integers(0, 300))
def test_a_frame_cut_anywhere_is_undecodable(cut: int) -> None:
    frame = event_encoder(confluent_prefix(7), "crm", "customer")(b"17" * 40, 1 << 40, 1 << 50, 1 << 50, b"x")[0]
    cut = min(cut, len(frame) - 2)
    with pytest.raises(Undecodable):
        data_at(frame[:cut], open_frame(frame[:cut]).at)


@pytest.mark.parametrize(
    "frame", [b"", b"{}", b"\x01abc", b"\xc3\x02aaaaaaaaaaa", b"\0\0\0\0\1\x01", b"\0\0\0\0\1\x03ab"]
)
def test_what_is_no_event_is_undecodable(frame: bytes) -> None:
    with pytest.raises(Undecodable):
        open_frame(frame)


def test_headers_are_the_cloud_event_in_binary_mode() -> None:
    encode = event_encoder(b"\0\0\0\0\7", "crm", "customer", namespace="cluster.prefix")
    headers = dict(encode(b"17", 42, 1_700_000_000_000_001, 0, b"")[1])
    assert headers == {
        "ce_specversion": b"1.0",
        "ce_source": b"urn:sorbus:cluster.prefix:crm",
        "ce_type": b"sorbus.customer.upsert",
        "ce_id": b"customer/17@42",
        "ce_time": b"2023-11-14T22:13:20.000001Z",
    }
    deleted = dict(event_encoder(b"\xc3\1abcdefgh", "crm", "customer")(b"17", 43, 0, 0, None)[1])
    assert deleted["ce_type"] == b"sorbus.customer.delete"


_EMPTY = 0xC15D213AA4D7A795
"""Avro 1.12 specification, "Schema Fingerprints": the polynomial, and the fingerprint of nothing."""


def rabin(canonical: bytes) -> int:
    """CRC-64-AVRO, bit by bit."""
    found = _EMPTY
    for byte in canonical:
        found ^= byte
        for _ in range(8):
            found = (found >> 1) ^ (_EMPTY if found & 1 else 0)
    return found


def test_the_fingerprint_is_the_specifications_in_little_endian() -> None:
    assert rabin(b'"null"') == 7195948357588979594  # the first vector of Avro's own test suite
    schema = parse_schema(
        '{"doc": "x", "type": "record", "name": "foo", "namespace": "a.b", "fields": [{"type": "long", "name": "n"}]}'
    )
    canonical = b'{"name":"a.b.foo","type":"record","fields":[{"name":"n","type":"long"}]}'
    assert schema.fingerprint == rabin(canonical).to_bytes(8, "little")
    assert single_object_prefix(schema) == b"\xc3\x01" + schema.fingerprint


@settings(max_examples=50, deadline=None)
@given(examples())
def test_fastavros_single_object_fingerprint_is_ours(example: Example) -> None:
    canonical = fastavro.schema.to_parsing_canonical_form(envelope_schema(example.schema).json)
    assert envelope_schema(example.schema).fingerprint == rabin(canonical.encode()).to_bytes(8, "little")


@settings(max_examples=50, deadline=None)
@given(examples())
def test_the_records_schema_comes_out_of_the_envelopes_again(example: Example) -> None:
    assert record_inside(parse_schema(envelope_schema(example.schema).text)) == example.schema


def test_a_schema_that_is_no_envelope_is_refused() -> None:
    with pytest.raises(SchemaError, match="not a Sorbus change event"):
        record_inside(parse_schema({"type": "record", "name": "other", "fields": [{"name": "id", "type": "string"}]}))
