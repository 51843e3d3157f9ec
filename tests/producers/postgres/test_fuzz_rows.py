"""Odd rows through the whole way of a row: messages cut, changed or too long, and values of every type that are none.

`make fuzz SECONDS=600 SEED=7` does it for so long; the suite does a short slice.
"""

from __future__ import annotations

import os
import random
import time
from typing import Any

from psycopg import adapters

from sorbus.connector import StaleRecordDeletion
from sorbus.errors import PermanentError, SorbusError, TransientError
from sorbus.event import event_encoder, occurred_at, open_frame
from sorbus.mapfile.model import FieldMapping
from sorbus.mapping.assign import Assignment
from sorbus.producers.postgres.layout import RowLayout
from sorbus.producers.postgres.pgoutput import ProtocolError, decode
from sorbus.producers.postgres.position import PostgresPosition
from sorbus.schema import AvroType, parse_schema
from tests.conftest import Report
from tests.producers.http.oddities import NUMBERS, TEXTS
from tests.producers.postgres import wire
from tests.producers.postgres.model import LINES, ORDERS, RELATIONS, Database, Topics, collector

SECONDS = float(os.environ.get("SORBUS_FUZZ_SECONDS", "2")) / 2
SEED = os.environ.get("SORBUS_FUZZ_SEED", "1")
SOME = [
    *NUMBERS,
    *(text for text in TEXTS if text.isascii() or text.isprintable()),
    *(
        "infinity",
        "-infinity",
        "0044-03-15 BC",
        "294276-12-31 23:59:59.999999+00",
        "24:00:00",
        "4713-01-01 00:00:00 BC",
    ),
    *("{", "{}", "{1,NULL}", "[0:1]={1,2}", '{"a', "{{{{{{{", "(1,", "$-92,233,720,368,547,758.08", "1 year -3 days"),
    *(
        "t",
        "f",
        "\\x",
        "\\x0",
        "\\xzz",
        "{" * 5000,
        "[" * 5000,
        '{"a":' * 5000,
        "9" * 100_000,
        "0001-01-01 00:00:00+14",
    ),
]
CELLS: list[bytes | None] = [None, b"", b"\xff\xfe", b"\0", *(text.encode("utf-8", "surrogatepass") for text in SOME)]
KINDS: list[AvroType] = [
    *("string", "int", "long", "float", "double", "boolean", "bytes"),
    {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2},
    {"type": "int", "logicalType": "date"},
    {"type": "long", "logicalType": "timestamp-micros"},
    {"type": "long", "logicalType": "time-micros"},
    {"type": "string", "logicalType": "uuid"},
    {"type": "array", "items": "string"},
    {"type": "map", "values": "string"},
    {"type": "enum", "name": "e", "symbols": ["A", "B"]},
]


class Strict(Database):
    """Refuses keys that can't be its tables', as a server would."""

    def fetch(self, *asked: Any) -> Any:
        try:
            yield from super().fetch(*asked)
        except ValueError as error:
            raise TransientError(f"no such key: {error}") from error


def test_no_message_raises_anything_but_a_fault_of_the_stream(report: Report) -> None:
    chance, fed, faults = random.Random(SEED), 0, 0
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        topics = Topics()
        topics.commit((), (), PostgresPosition("here", 900, 901, copied=("plain", "order")))
        found = collector(Strict(), topics)
        for message in (RELATIONS[ORDERS], RELATIONS[LINES]):
            found.feed(message)
        for _ in range(chance.randint(1, 12)):
            message = _odd(chance)
            fed += 1
            try:
                decode(message)
            except ProtocolError:
                faults += 1
            try:
                if not found.feed(message):
                    found.take()
            except SorbusError:
                break  # the stream can't be trusted: the session ends, and begins again where it was
        else:
            for change in _taken(found):
                _encoded(change)
    assert 0 < faults < fed
    report(f"{fed} odd messages of seed {SEED}, {faults} of them no messages")


def _taken(found: object) -> list[object]:
    try:
        changes, _, sweeps, *_ = found.take()  # type: ignore[attr-defined]
    except SorbusError:
        return []
    return [*changes, *sweeps]


def _encoded(change: object) -> None:
    if isinstance(change, StaleRecordDeletion):
        return
    _, id, version, at, data = change  # type: ignore[misc]
    frame, _ = event_encoder(b"\0\0\0\0\1", "shop", "plain")(id, version, at, 0, data)
    occurred_at(frame, open_frame(frame).at)


def _odd(chance: random.Random) -> bytes:
    table, large = chance.choice([ORDERS, LINES, 1]), chance.choice([0, 1, 2**31, 2**63 - 1, 2**64 - 1])
    at = chance.choice([0, 1, -(2**62), 2**62, 1_700_000_000_000_000])

    def row() -> list[wire.Cell]:
        return [chance.choice([*CELLS, b"1", b"7", "u"]) for _ in range(chance.choice([0, 1, 2, 3, 3, 3, 4, 200]))]

    message = chance.choice(
        [
            lambda: wire.begin(large, at, 1),
            lambda: wire.begin(2000 + chance.randint(0, 9), at, 1),
            lambda: wire.commit(2000, 2005, at),
            lambda: wire.insert(table, row()),
            lambda: wire.update(table, row(), row() if chance.random() < 0.5 else None, chance.choice("KO")),
            lambda: wire.delete(table, row(), chance.choice("KO")),
            lambda: wire.truncate([table] * chance.choice([0, 1, 3])),
            lambda: wire.relation(table, "public", "orders", [("id", 23, True), ("\u00e9", large % 2**32, False)]),
        ]
    )()
    draw = chance.random()
    if draw < 0.2:
        return message[: chance.randint(0, len(message))]
    if draw < 0.3:
        return message + chance.randbytes(chance.randint(1, 40))
    if draw < 0.5:
        place = chance.randrange(len(message))
        return message[:place] + chance.randbytes(1) + message[place + 1 :]
    return message if draw < 0.97 else chance.randbytes(chance.randint(0, 60))


def test_no_value_of_any_type_raises_anything_but_its_row_s_refusal(report: Report) -> None:
    chance, oids = random.Random(SEED), sorted({one.oid for one in adapters.types} | {790, 2278, 99_999})
    sheet = FieldMapping(file=__file__, line=1, source_system="crm", source_field="t.value", target_system="canonical",
                         target_field="person.first", rule="", notes="")  # fmt: skip
    tried, refused, until = 0, 0, time.monotonic() + SECONDS
    while time.monotonic() < until:
        kind, oid = chance.choice(KINDS), chance.choice(oids)
        fields: list[AvroType] = [{"name": "first", "type": chance.choice([kind, ["null", kind]])}]
        schema = parse_schema({"type": "record", "name": "person", "fields": fields})
        layout = RowLayout(schema.fields, [Assignment("first", "value", None, sheet)], {"value": oid})
        for cell in CELLS:
            tried += 1
            began = time.monotonic()
            said = None
            try:
                assert all(isinstance(made, bytes) for made in layout.encode([cell]))
            except PermanentError as error:
                refused, said = refused + 1, error
            assert said is None or said.field == "first"
            assert len(str(said)) <= 2000, f"oid {oid} as {kind}: a refusal of {len(str(said)):,} characters"
            assert time.monotonic() - began < 2, f"oid {oid} as {kind} took long over {cell[:50] if cell else cell!r}"
    assert 0 < refused < tried
    report(f"{tried} odd values of seed {SEED}, {refused} refused")
