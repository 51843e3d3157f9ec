"""A real Debezium captures PostgreSQL into topics, in JSON and in Avro; Sorbus reads them into another database.

Debezium and all of Sorbus are killed in the middle; what is compared is what SQL reads on both sides.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from sorbus.ops.embedded import Addresses
from tests.acceptance.office import Office
from tests.acceptance.test_kafka_connect import LOOK, SCHEMA, TABLE, Writers, connect
from tests.conftest import Report
from tests.replication_slots import drop_slots

pytestmark = pytest.mark.real
CHANGES, HALVES, KILLS = 10_000, 2, 3
WAYS = ("json", "avro")


def connectors(stack: Addresses, dsn: str, unique: str) -> dict[str, dict[str, str]]:
    """Stock connectors on one table: nothing is set but addresses, names and converters."""
    parts = conninfo_to_dict(dsn)
    made = {}
    for way in WAYS:
        made[way] = {
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "database.hostname": str(parts["host"]),
            "database.port": str(parts["port"]),
            "database.user": str(parts["user"]),
            "database.password": str(parts.get("password") or "x"),
            "database.dbname": str(parts["dbname"]),
            "topic.prefix": f"{unique}.{way}",
            "plugin.name": "pgoutput",
            "table.include.list": "public.thing",
            "slot.name": f"{unique}_{way}".lower(),
            "publication.name": f"{unique}_{way}".lower(),
            "publication.autocreate.mode": "filtered",
            "slot.drop.on.stop": "false",
            "topic.creation.default.replication.factor": "1",
            "topic.creation.default.partitions": "3",
            "heartbeat.interval.ms": "1000",
            "poll.interval.ms": "50",
        }
        if way == "avro":
            for side in ("key", "value"):
                made[way][f"{side}.converter"] = "io.confluent.connect.avro.AvroConverter"
                made[way][f"{side}.converter.schema.registry.url"] = stack.registry
    return made


def rows(dsn: str, table: str) -> dict[str, tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        found = connection.execute(LOOK.format(table=table, tags="to_jsonb(tags)::text").encode()).fetchall()
    return {str(row[0]): tuple(row[1:]) for row in found}


def test_ten_thousand_changes_through_debezium(
    stack: Addresses, make_database: Callable[[str], str], unique: str, tmp_path: Path, report: Report
) -> None:
    source, target = make_database(TABLE), make_database("")
    secrets = {"TARGET": target, "SORBUS_DATABASE": make_database("")}
    office = Office(tmp_path, unique, {**stack.env(), **secrets})
    office.write(
        {
            "systems": {
                "erp": {"kind": "debezium", "owner": "Sales", "connection": {}},
                "copy": {"kind": "postgres", "owner": "Data", "connection": {"dsn": "${TARGET}"}},
            },
            "data_types": {
                f"thing_{way}": {
                    "system_of_record": "erp",
                    "source": {"topic": f"{unique}.{way}.public.thing"},
                }
                for way in WAYS
            },
            "flows": [{"data_type": f"thing_{way}", "to": "copy", "target": {"table": f"thing_{way}"}} for way in WAYS],
        },
        schemas={f"thing_{way}": SCHEMA for way in WAYS},
    )
    writers = Writers(source)
    writers.work(1500, 0)
    office.sorbus("map", "check")
    began = time.monotonic()
    try:
        for half in range(HALVES):
            with connect(tmp_path, stack, connectors(stack, source, unique)):  # killed at the block's end
                if half == 0:
                    office.sorbus("apply", "--yes")
                # Killed before its first offset is stored, it takes another snapshot and never tells of deletes.
                stored = tmp_path / "connect.offsets"
                office.until(lambda: "" if stored.exists() and stored.stat().st_size else "no offset stored", 120)  # noqa: B023
                for kill in range(KILLS):
                    with office.killed():
                        writers.work((CHANGES - 1500) // (HALVES * KILLS) + 1, 10 * half + kill + 1)
                if half == HALVES - 1:
                    with office.up():
                        office.until(lambda: missing(source, target), 120, every=1.0)
                    letters = office.sorbus("dlq", "list", "--json", status=None)
    finally:
        with psycopg.connect(source, autocommit=True) as connection:
            drop_slots(connection)
    report(
        f"{writers.changes} changes in JSON and in Avro, {HALVES * KILLS} kills of Sorbus, {HALVES - 1} of Debezium,"
        f" {len(rows(source, 'thing'))} rows in the end, {time.monotonic() - began:.0f} s"
    )
    report(letters[:300])
    assert writers.changes >= CHANGES


def missing(source: str, target: str) -> str:
    """What the copies lack, in a line; "" when all is equal."""
    wanted = rows(source, "thing")
    for way in WAYS:
        try:
            found = rows(target, f"thing_{way}")
        except psycopg.errors.UndefinedTable:
            return f"thing_{way} isn't there yet"
        unlike = [id for id in {*found, *wanted} if found.get(id) != wanted.get(id)]
        if unlike:
            return f"{way}: {len(unlike)} of {len(wanted)}: {found.get(unlike[0])} and not {wanted.get(unlike[0])}"
    return ""
