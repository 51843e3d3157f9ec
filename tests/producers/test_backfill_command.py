"""`sorbus backfill` and what `sorbus status` says of a snapshot that a person has paused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from sorbus.bus.names import Names
from sorbus.bus.status import reporting, require_running
from sorbus.errors import TransientError
from sorbus.ops.backfill.status import words_of
from sorbus.schema import AvroType
from sorbus.snapshot_control import SnapshotStatus
from sorbus.telemetry.health import REFUSED, Health
from tests.consumers.line import eventually
from tests.producers.shop import Shop

MakeShop = Callable[..., Shop]
_SORBUS = str(Path(sys.executable).with_name("sorbus"))
FIELDS: list[AvroType] = [{"name": "name", "type": "string"}]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (SnapshotStatus("item", "waiting"), "item: waiting"),
        (SnapshotStatus("item", "paused", 5, 9), "item: paused, 5 of about 9 records read"),
        (
            SnapshotStatus("item", "reading", 1000, 61_000, 500.0),
            "item: reading, 1,000 of about 61,000 records read, 500 a second, about 2 min left",
        ),
        (
            SnapshotStatus("item", "ended", 9, 9, 3.0, "size > 1", 4, 1, "7: not a number"),
            "item: ended, 9 records read, where size > 1: 4 left out, of those 1 because the condition can't be decided"
            " (the first: 7: not a number)",
        ),
    ],
)
def test_each_snapshot_is_a_line(status: SnapshotStatus, words: str) -> None:
    assert words_of(status) == words


def test_nothing_is_asked_of_a_producer_that_does_not_run(make_shop: MakeShop) -> None:
    shop = make_shop("create table items (id int primary key, name text not null); insert into items values (1, 'a')")
    shop.describe({"item": (FIELDS, {"table": "items"})})
    shop.apply()
    names, crm = Names(shop.prefix), f"produce {shop.owner}"
    with pytest.raises(TransientError, match=f"`sorbus {crm}` isn't running, and nothing was asked"):
        require_running(shop.settings, names, crm)
    health = Health()
    health.report("kafka", "Kafka can't be reached")
    with reporting(shop.settings, names, crm, health):
        eventually(lambda: "can't take this yet: starting; Kafka can't be" in _refusal(shop, names, crm), "its reason")
        health.report("kafka", None)
        health.ready("the registry can't be reached", dependency="registry")  # nothing has opened the requests yet
        eventually(lambda: "can't take this yet: the registry can't be" in _refusal(shop, names, crm), "its reason")
        health.ready()
        eventually(lambda: _refusal(shop, names, crm) == "", "its readiness")
        health.ready("the source is away", dependency="system")
        eventually(lambda: not health.status().ready and _refusal(shop, names, crm) == "", "that it reads on")
        health.block(REFUSED, "the server denies access")
        eventually(lambda: "can't take this yet: the source is away; the server" in _refusal(shop, names, crm), "why")
        with pytest.raises(TransientError, match="isn't running"):
            require_running(shop.settings, names, "produce books")
    with pytest.raises(TransientError, match="isn't running"):
        require_running(shop.settings, names, crm)


def _refusal(shop: Shop, names: Names, process: str) -> str:
    try:
        require_running(shop.settings, names, process)
    except TransientError as error:
        return str(error)
    return ""


@pytest.mark.slow
def test_a_paused_snapshot_is_shown_until_it_is_resumed(make_shop: MakeShop) -> None:
    shop = make_shop("create table items (id int primary key, name text not null); insert into items values (1, 'a')")
    shop.describe({"item": (FIELDS, {"table": "items"})})
    shop.apply()
    env = {**os.environ, "SORBUS_KAFKA": shop.settings.kafka, "SORBUS_REGISTRY": shop.settings.registry}

    def sorbus(*arguments: str) -> str:
        command = [_SORBUS, "--map", str(shop.folder / "map.yaml"), *arguments]
        done = subprocess.run(command, env=env, cwd=shop.folder, capture_output=True, text=True, timeout=60)
        return " ".join((done.stdout + done.stderr).split())  # its lines are broken anywhere

    assert "isn't running, and nothing was asked" in sorbus("backfill", "item")
    assert "no field 'nme'" in sorbus("backfill", "item", "--where", 'nme == "a"')
    with shop.process(), psycopg.connect(shop.dsn) as other:
        shop.tape("item").wait_for({"1": {"name": "a"}})
        other.execute("lock table items")
        sorbus("backfill", "item")
        eventually(lambda: "item: waiting" in sorbus("backfill", "item", "--status"), "the snapshot in the queue")
        sorbus("backfill", "item", "--pause")
        eventually(lambda: "item: paused" in sorbus("backfill", "item", "--status"), "the pause")
        (told,) = json.loads(sorbus("backfill", "item", "--status", "--json"))
        assert (told["state"], told["seconds_left"]) == ("paused", None)
        eventually(lambda: "the snapshot of item is paused" in sorbus("status"), "the pause in the status", 60)
        other.rollback()
        sorbus("backfill", "item", "--resume")
        eventually(lambda: "is paused" not in sorbus("status"), "the status without it", 60)
