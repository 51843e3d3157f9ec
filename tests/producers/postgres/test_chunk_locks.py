"""A snapshot beside the stream holds up nobody who changes its table, even while its producer is busy elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg
import pytest

from sorbus.producers.postgres import snapshot_pace
from tests.producers.postgres.live import Live
from tests.producers.shop import Shop

OPEN = "select count(*) from pg_stat_activity where application_name = 'sorbus snapshot' and state like 'idle in %'"


def test_a_table_can_be_truncated_while_nobody_reads_its_chunk(
    make_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_pace, "_LONG_SLICE", 0.0001)  # a chunk takes many turns
    shop = make_shop("create table slots (id int primary key, name text);")
    fields = [{"name": "id", "type": "long"}, {"name": "name", "type": ["null", "string"]}]
    shop.describe({"slot": (fields, {"table": "slots"})})
    shop.execute("insert into slots select n, 'slot ' || n from generate_series(1, 20000) n")
    live = Live(shop)
    live.wait(lambda: len(live.records("slot")) == 20_000, lambda: f"{len(live.records('slot'))} of 20,000 records")
    for _ in range(10):
        live.step()  # the first snapshot ends
    live._producer.backfill("slot", "start")  # type: ignore[union-attr]
    end = time.monotonic() + 20
    with psycopg.connect(shop.dsn, autocommit=True) as session:
        while session.execute(OPEN.encode()).fetchone() != (1,):
            live.step()
            assert time.monotonic() < end, "no chunk was read"
        session.execute("set lock_timeout = '15s'")
        session.execute("truncate slots")
        session.execute("insert into slots values (1, 'anew')")
    live.wait(
        lambda: {id: one["name"] for id, one in live.records("slot").items()} == {"1": "anew"},
        lambda: f"the table as it is; {len(live.records('slot'))} records",
    )
    live.close()
