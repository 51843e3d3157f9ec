"""Debezium's types as values: exact or refused, in JSON and Avro alike."""

from __future__ import annotations

import base64
import io
import json
from contextlib import suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.connector import StaleRecordDeletion
from sorbus.errors import PermanentError
from sorbus.producers.debezium.change_event import AllGone, NoChange, RowChange, event_of, id_of
from sorbus.producers.debezium.connect_values import UNAVAILABLE, decimal_of, value_of
from sorbus.producers.debezium.formats import Content, Formats
from sorbus.producers.debezium.options import PLACEHOLDER, DebeziumSource
from sorbus.producers.debezium.topic_stream import TopicMessage, TopicStream
from tests.conformance.test_debezium import TopicThings

CONNECT, TIME = "org.apache.kafka.connect.data.", "io.debezium.time."
OPTIONS = DebeziumSource(topic="erp.public.things")
BYTES = base64.b64encode


def b64(data: bytes) -> str:
    return BYTES(data).decode()


@pytest.mark.parametrize(
    ("raw", "kind", "name", "value"),
    [
        (20_000, "int32", TIME + "Date", date(2024, 10, 4)),
        (-1, "int32", CONNECT + "Date", date(1969, 12, 31)),
        (1_700_000_000_123, "int64", TIME + "Timestamp", datetime(2023, 11, 14, 22, 13, 20, 123000)),
        (1_700_000_000_123_456, "int64", TIME + "MicroTimestamp", datetime(2023, 11, 14, 22, 13, 20, 123456)),
        (1_700_000_000_123_456_000, "int64", TIME + "NanoTimestamp", datetime(2023, 11, 14, 22, 13, 20, 123456)),
        (-1, "int64", TIME + "MicroTimestamp", datetime(1969, 12, 31, 23, 59, 59, 999999)),
        (3_600_001, "int32", TIME + "Time", time(1, 0, 0, 1000)),
        (3_600_000_001, "int64", TIME + "MicroTime", time(1, 0, 0, 1)),
        (86_399_999_999, "int64", TIME + "MicroTime", time.max),
        ("2026-01-01T00:00:00.1234560Z", "string", TIME + "ZonedTimestamp", datetime(2026, 1, 1, 0, 0, 0, 123456, UTC)),
        ("2026-01-01T00:00:00+02:00", "string", TIME + "ZonedTimestamp", datetime(2025, 12, 31, 22, 0, tzinfo=UTC)),
        (b64(b"\x01"), "bytes", "io.debezium.data.Bits", b"\x01"),
        ('{"a": 1}', "string", "io.debezium.data.Json", '{"a": 1}'),
        ("c0ffee00-0000-0000-0000-000000000000", "string", "io.debezium.data.Uuid",
         "c0ffee00-0000-0000-0000-000000000000"),
        (1.5, "double", None, 1.5),
        (9007199254740993, "int64", None, 9007199254740993),
        (b64(b"\0\xff"), "bytes", None, b"\0\xff"),
        (PLACEHOLDER, "string", None, UNAVAILABLE),
        (b64(PLACEHOLDER.encode()), "bytes", None, UNAVAILABLE),
        ([PLACEHOLDER], "array", None, UNAVAILABLE),
        ({PLACEHOLDER: PLACEHOLDER}, "map", None, UNAVAILABLE),
        (None, "int64", TIME + "Timestamp", None),
    ],
)  # fmt: skip
def test_a_type(raw: object, kind: str, name: str | None, value: object) -> None:
    found = value_of(raw, {"type": kind, "name": name, "items": {"type": "string"}}, PLACEHOLDER)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("raw", "kind", "name"),
    [
        (1_700_000_000_123_456_789, "int64", TIME + "NanoTimestamp"),
        ("2026-01-01T00:00:00.123456789Z", "string", TIME + "ZonedTimestamp"),
        ("ab!", "bytes", None),
        ("x", "int32", TIME + "Date"),
        (b64(b"\1"), "bytes", CONNECT + "Decimal"),
        (10**18, "int64", TIME + "Timestamp"),
        (86_400_000_000, "int64", TIME + "MicroTime"),
        (838 * 3_600_000_000, "int64", TIME + "MicroTime"),
        (86_400_000, "int32", CONNECT + "Time"),
        (-1, "int64", TIME + "MicroTime"),
    ],
)
def test_what_is_not_exact_is_refused(raw: object, kind: str, name: str | None) -> None:
    with pytest.raises((ValueError, TypeError, OverflowError)):
        value_of(raw, {"type": kind, "name": name}, PLACEHOLDER)


@given(st.integers(-(10**60), 10**60), st.integers(0, 40))
def test_decimals_keep_every_digit(unscaled: int, scale: int) -> None:
    data = unscaled.to_bytes(unscaled.bit_length() // 8 + 1, "big", signed=True)
    assert decimal_of(data, scale).as_tuple() == Decimal(f"{unscaled}e-{scale}").as_tuple()
    struct = {"type": "struct", "name": "io.debezium.data.VariableScaleDecimal", "fields": []}
    assert value_of({"scale": scale, "value": b64(data)}, struct, PLACEHOLDER) == Decimal(f"{unscaled}e-{scale}")


AVRO = {
    "type": "record", "name": "Envelope", "namespace": "erp", "connect.name": "erp.Envelope", "fields": [
        {"name": "before", "default": None, "type": ["null", {
            "type": "record", "name": "Value", "fields": [
                {"name": "id", "type": "long"},
                {"name": "price", "type": ["null", {"type": "bytes", "scale": 2, "precision": 64, "connect.version": 1,
                    "connect.parameters": {"scale": "2"}, "connect.name": CONNECT + "Decimal",
                    "logicalType": "decimal"}]},
                {"name": "at", "type": {"type": "long", "connect.version": 1,
                    "connect.name": TIME + "MicroTimestamp"}},
                {"name": "tags", "type": {"type": "array", "items": ["null", "string"]}},
            ]}]},
        {"name": "after", "type": ["null", "Value"], "default": None},
        {"name": "op", "type": "string"},
        {"name": "ts_ms", "type": ["null", "long"]},
    ],
}  # fmt: skip


def test_avro_is_read_with_connects_names() -> None:
    row = {"id": 7, "price": (1234).to_bytes(2, "big"), "at": 1_700_000_000_123_456, "tags": ["a", None]}
    out = io.BytesIO()
    plain = json.loads(json.dumps(AVRO).replace('"logicalType": "decimal"', '"x": 1'))
    fastavro.schemaless_writer(
        out, fastavro.parse_schema(plain), {"before": None, "after": row, "op": "u", "ts_ms": 1_700_000_000_000}
    )
    formats = Formats({5: json.dumps(AVRO)}.get)
    event = event_of(formats.read(b"\0" + (5).to_bytes(4, "big") + out.getvalue()), OPTIONS)
    assert isinstance(event, RowChange)
    at = datetime(2023, 11, 14, 22, 13, 20, 123456)
    assert event.row == {"id": 7, "price": Decimal("12.34"), "at": at, "tags": ["a", None]}
    assert event.occurred_at == 1_700_000_000_000_000
    with pytest.raises(PermanentError, match="registry"):
        formats.read(b"\0\0\0\0\x09x")
    with pytest.raises(PermanentError, match="registry"):
        Formats(None).read(b"\0\0\0\0\x09x")
    with pytest.raises(PermanentError, match="what the schema with id 5 says"):
        formats.read(b"\0" + (5).to_bytes(4, "big") + b"\xff")


def of(raw: object, **options: object) -> RowChange | AllGone | NoChange:
    return event_of(Content(None, raw), OPTIONS.model_copy(update=options))


def test_every_op_is_understood() -> None:
    source = {"ts_ms": 5}
    assert of({"op": "d", "before": {"id": 1}, "after": None, "source": source}) == RowChange(
        None, {"id": 1}, None, 5000, is_snapshot=False
    )
    assert of({"op": "t", "source": source}) == AllGone(5000)
    assert isinstance(of({"op": "m", "message": {}, "source": source}), NoChange)
    read = of({"op": "r", "after": {"id": 1}, "source": source})
    assert isinstance(read, RowChange)
    assert read.is_snapshot
    assert isinstance(of({"ts_ms": 5}), NoChange), "a heartbeat"
    with pytest.raises(PermanentError, match=r"capture\.mode"):
        of({"op": "u", "after": None, "before": None, "source": source})
    with pytest.raises(PermanentError, match="op"):
        of({"op": "x", "after": {}, "source": source})


def test_flattened_rows_and_their_deletes() -> None:
    found = of({"id": 1, "name": "a", "__deleted": "false", "__source_ts_ms": 7})
    assert isinstance(found, RowChange)
    assert found.row is not None
    assert found.occurred_at == 7000
    gone = of({"id": 1, "name": None, "__deleted": "true"})
    assert isinstance(gone, RowChange)
    assert gone.row is None


@pytest.mark.parametrize(
    "row",
    [
        *({"id": 1, "op": op, "amount": 5} for op in ("t", "m", "c", "d")),
        {"id": 1, "op": "d", "before": "x", "after": "y"},
        {"id": 1, "op": "d", "before": None, "source": "shop", "ts_ms": 5},
        {"_id": 1, "op": "t", "source": {"kind": "shop"}},
    ],
)
def test_a_flattened_table_may_have_columns_named_like_an_envelopes(row: dict[str, object]) -> None:
    found = of(row)
    assert isinstance(found, RowChange)
    assert found.row == row


def test_a_schemas_name_says_what_a_message_is() -> None:
    """Avro's, too; a table may have no other columns than an envelope."""
    fields = [{"field": name, "type": "string"} for name in ("op", "before", "after")]
    row = {"op": "d", "before": None, "after": None}
    flat = event_of(Content({"type": "struct", "name": "erp.public.moves.Value", "fields": fields}, row), OPTIONS)
    assert isinstance(flat, RowChange)
    assert flat.row == row
    gone = event_of(Content({"type": "struct", "name": "erp.public.moves.Envelope", "fields": fields}, row), OPTIONS)
    assert isinstance(gone, RowChange)
    assert gone.row is None


def test_a_mongodb_document() -> None:
    text = json.dumps({
        "_id": {"$oid": "abc"}, "price": {"$numberDecimal": "1.10"}, "n": {"$numberLong": "9007199254740993"},
        "at": {"$date": 1_700_000_000_123}, "inside": {"x": [1]},
    })  # fmt: skip
    found = of({"op": "c", "after": text, "source": {}})
    assert isinstance(found, RowChange)
    at = datetime(2023, 11, 14, 22, 13, 20, 123000, UTC)
    assert found.row == {
        "_id": "abc", "price": Decimal("1.10"), "n": 9007199254740993, "at": at, "inside": {"x": [1]},
    }  # fmt: skip
    assert id_of(Content(None, {"id": '{"$oid": "abc"}'}), None, OPTIONS) == b"abc"


def test_ids() -> None:
    assert id_of(Content(None, {"a": 1, "b": "x|y"}), None, OPTIONS) == b"1|x%7Cy"
    assert id_of(Content(None, 7), None, OPTIONS) == b"7"
    own = OPTIONS.model_copy(update={"key": ("no",)})
    assert id_of(None, {"no": Decimal("7.50")}, own) == b"7.50"
    for key, row, options in (
        (None, None, OPTIONS),
        (None, {"no": UNAVAILABLE}, own),
        (Content(None, {"a": None}), None, OPTIONS),
    ):
        with pytest.raises(PermanentError, match="no id"):
            id_of(key, row, options)


def test_types_of_json_without_a_schema_come_from_the_map() -> None:
    types = {"price": "decimal(2)", "at": "micros", "day": "date", "code": "text"}
    found = of({"id": 1, "price": b64((1234).to_bytes(2, "big")), "at": 0, "day": 1, "code": "12"}, types=types)
    assert isinstance(found, RowChange)
    assert found.row == {
        "id": 1, "price": Decimal("12.34"), "at": datetime(1970, 1, 1), "day": date(1970, 1, 2), "code": "12",
    }  # fmt: skip


@given(st.binary(max_size=200))
def test_no_message_stops_the_reader(data: bytes) -> None:
    with suppress(PermanentError):
        event_of(Formats({1: json.dumps(AVRO)}.get).read(data), OPTIONS)


def test_a_table_with_columns_named_like_a_transactions_end_is_a_table() -> None:
    job = of({"id": 1, "status": "done", "event_count": 3, "name": "a"})
    assert isinstance(job, RowChange)
    assert job.row == {"id": 1, "status": "done", "event_count": 3, "name": "a"}
    end = of({"status": "END", "id": "571:1", "event_count": 2, "data_collections": [], "ts_ms": 5})
    assert isinstance(end, NoChange)


@pytest.mark.parametrize(
    ("raw", "items"),
    [
        (list(PLACEHOLDER.encode()), {"type": "int32"}),
        (list(PLACEHOLDER.encode()), {"type": "int32", "name": TIME + "Date"}),
        (["b68a35a7-17ad-35b3-af2a-ae46edb4545a"], None),
        ([PLACEHOLDER], {"type": "string"}),
        (PLACEHOLDER.encode().hex(), None),
    ],
)
def test_an_unchanged_list_is_never_taken_for_its_placeholder(raw: object, items: object) -> None:
    """As Debezium's UnchangedToastedPlaceholder makes them for int[], date[], uuid[], text[] and bytea."""
    schema = {"type": "array", "items": items} if items else None
    assert value_of(raw, schema, PLACEHOLDER) is UNAVAILABLE


KEYS = st.sampled_from([
    b'{"id": "7"}', b'{"id": "\\ud800"}', b'{"schema": 5, "payload": {"id": 1}}', b"",
    json.dumps({"schema": {"type": "struct", "fields": [{"field": "id", "type": "bytes"}]},
                "payload": {"id": b64(b"\xff\xfe")}}).encode(),
    json.dumps({"schema": {"type": "struct", "fields": [{"field": "id", "type": "int32", "name": TIME + "Date"}]},
                "payload": {"id": "x"}}).encode(),
])  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["$date", "struct", "bytes"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "type", "fields", "field", "name", "$date", "$numberLong", "$binary", "items"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
DOCUMENTS = JSON.map(json.dumps)


@given(KEYS, JSON, st.sampled_from(["c", "u", "r", "d", "t", "x"]), JSON | DOCUMENTS)
def test_no_key_or_row_stops_the_topic(key: bytes, schema: object, op: str, row: object) -> None:
    source = object.__new__(TopicThings)
    source.topic, source.options = "erp.things", {"topic": "erp.things"}
    stream = TopicStream(source.sources()[0], "erp")
    value = json.dumps({"schema": schema, "payload": {"op": op, "before": row, "after": row}}).encode()
    for data in (value, None):
        found, *_ = stream.outcome(TopicMessage(0, 1, key, data, 1_700_000_000_000_000), 5, Formats(None))
        if found is not None and not isinstance(found, StaleRecordDeletion):
            found.id.decode()
