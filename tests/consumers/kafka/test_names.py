"""Names of topics and fields, and keys: what Kafka and Avro can hold, and no two records with one key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sorbus.bus.cluster import KafkaConnection
from sorbus.connector import BoundFlow, BoundSystem
from sorbus.consumers.kafka.columns import Columns
from sorbus.consumers.kafka.options import KafkaTarget
from sorbus.errors import MapError, PermanentError
from sorbus.mapfile.model import DataType, Flow, System
from tests.consumers.gadgets import GADGET


def bound(**target: object) -> BoundFlow:
    options = KafkaTarget.model_validate({"topic": "out.gadgets", **target})
    flow = Flow.model_validate({"data_type": "gadget", "to": "lake", "deletes": "hard"})
    system = BoundSystem("lake", System(kind="kafka"), KafkaConnection(), "", None)  # type: ignore[arg-type]
    return BoundFlow(flow, DataType(), GADGET, (), options, system)


@pytest.mark.parametrize("name", ["gadgets\n", "a b", "", ".", "..", "out.", "ü", "x" * 250])
def test_what_is_no_topics_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        KafkaTarget.model_validate({"topic": name})


@pytest.mark.parametrize("key", ["my-id", "1st", "customer id", "é", "id\n"])
def test_a_key_that_avro_cant_name_is_a_finding(key: str) -> None:
    with pytest.raises(MapError, match="can't be a field's name"):
        Columns(bound(key=key))


@pytest.mark.parametrize("key_type", ["string", "int64"])
@given(ids=st.lists(st.binary(min_size=1, max_size=3) | st.from_regex(rb"[-+]?[0-9]{1,3}", fullmatch=True)))
def test_no_two_ids_have_one_key(key_type: str, ids: list[bytes]) -> None:
    columns = Columns(bound(key_type=key_type))
    found: dict[str | int, bytes] = {}
    for id in set(ids) | {b"0", b"-0", b"\xff", b"\xfe"}:
        try:
            key = columns.key(id)
        except PermanentError:
            continue
        assert found.setdefault(key, id) == id
