"""What is owed to topics that another system has published: also after a death in the middle of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sorbus.connector import Batch, Position
from sorbus.producers.mysql import snapshot
from sorbus.producers.mysql.producer import MysqlProducer
from sorbus.schema import AvroType
from tests.producers.mysql.mysql_shop import MysqlShop

FLOOR = 2**61
FIELDS: list[AvroType] = [{"name": "name", "type": "string"}]
SCRIPT = [
    statement
    for table in ("items", "things")
    for statement in (
        f"create table {table} (id int primary key, name text)",
        f"insert into {table} values (1, 'one'), (2, 'two'), (3, 'three')",
    )
]


@pytest.fixture
def shop(make_mysql_shop: Callable[..., MysqlShop]) -> MysqlShop:
    made = make_mysql_shop(*SCRIPT)
    system = {"kind": "mysql", "connection": made.server.connection(made.database)}
    made.describe({"item": (FIELDS, {"table": "items"}), "thing": (FIELDS, {"table": "things"})}, system)
    return made


def batches(
    shop: MysqlShop, position: Position | None, floors: dict[str, int], *, first: bool = False
) -> tuple[list[Batch], Position]:
    """What a producer reads until it has caught up, or the `first` batch alone; its position then."""
    loaded = shop.loaded()
    producer = MysqlProducer(loaded.system("shop", "producer"), loaded.sources("shop"))
    producer.take_over(floors)
    producer.open(position)
    found: list[Batch] = []
    try:
        while batch := producer.read(0.2):
            found.append(batch)
            if first:
                break
    finally:
        producer.close()
    assert found
    return found, found[-1].position


def swept(found: list[Batch]) -> set[str]:
    return {sweep.data_type for batch in found for sweep in batch.sweeps}


def test_after_a_death_the_data_types_that_had_not_begun_are_swept_too(shop: MysqlShop) -> None:
    one, position = batches(shop, None, {"item": FLOOR, "thing": FLOOR}, first=True)
    assert not swept(one)
    rest, _ = batches(shop, position, {})
    assert swept(rest) == {"item", "thing"}
    assert all(change.version > FLOOR for batch in one + rest for change in batch.changes)


def test_a_snapshot_under_way_begins_again_above_what_its_topic_holds_by_now(
    shop: MysqlShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "_PAGE", 2)
    begun, position = batches(shop, None, {}, first=True)
    assert len(begun[0].changes) == 2
    rest, _ = batches(shop, position, {"item": FLOOR, "thing": FLOOR})
    versions = {change.id: change.version for batch in rest for change in batch.changes if change.data_type == "item"}
    assert set(versions) == {b"1", b"2", b"3"}
    assert min(versions.values()) > FLOOR
    assert swept(rest) == {"item", "thing"}
