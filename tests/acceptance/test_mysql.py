"""MariaDB to PostgreSQL and PostgreSQL to MariaDB while several people write, and everything is killed in the middle.

What is compared is what SQL says on both sides; Sorbus's code has no part in it.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from sorbus.ops.embedded import Addresses
from tests.acceptance.office import Office, unlike
from tests.conftest import Report
from tests.mariadb import Mariadb, mariadb, mariadb_server

__all__ = ["mariadb", "mariadb_server"]
pytestmark = pytest.mark.slow
NUMBER = {"type": "bytes", "logicalType": "decimal", "precision": 19, "scale": 4}
MOMENT = {"type": "long", "logicalType": "timestamp-micros"}
SCHEMA: list[object] = [
    {"name": "name", "type": "string"},
    {"name": "price", "type": ["null", NUMBER], "default": None},
    {"name": "stock", "type": ["null", "long"], "default": None},
    {"name": "since", "type": ["null", {"type": "int", "logicalType": "date"}], "default": None},
    {"name": "changed", "type": ["null", MOMENT], "default": None},
    {"name": "note", "type": ["null", "string"], "default": None},
]
COLUMNS = ("id", "name", "price", "stock", "since", "changed", "note")
MYSQL = """
create table item (id bigint unsigned primary key, name varchar(200) not null, price decimal(19, 4),
                   stock bigint, since date, changed timestamp(6) null, note text character set latin1)
"""
POSTGRES = """
create table item (id bigint primary key, name text not null, price numeric(19, 4), stock bigint, since date,
                   changed timestamptz, note text)
"""
WRITERS, CHANGES, KILLS = 4, 10_000, 6
Rows = dict[str, dict[str, object]]
Execute = Callable[[str, list[object]], None]


class ItemWriter:
    """One of several who write at once, each to keys of their own, in transactions of different sizes."""

    def __init__(self, number: int, begin: Callable[[], None], execute: Execute, commit: Callable[[], None]) -> None:
        self._chance, self._number, self.changes = random.Random(number), number, 0
        self._begin, self._execute, self._commit = begin, execute, commit
        self._ids: list[int] = []
        self._next = 1

    def work(self, changes: int) -> None:
        """So many rows are new, changed, moved to another key or gone."""
        while changes > 0:
            size = min(changes, self._chance.choice((1, 1, 2, 5, 40, 200)))
            self._begin()
            for _ in range(size):
                self._one()
            self._commit()
            changes -= size
            self.changes += size

    def _one(self) -> None:
        kind, chance = self._chance.random(), self._chance
        if kind < 0.4 or len(self._ids) < 20:
            self._ids.append(self._key())
            self._execute(
                "insert into item (id, name, price, stock, since, changed, note) values (%s, %s, %s, %s, %s, %s, %s)",
                [self._ids[-1], f"Ware {self._next} ä日😀", *self._values()],
            )
        elif kind < 0.75:
            self._execute(
                "update item set price = %s, stock = %s, since = %s, changed = %s, note = %s where id = %s",
                [*self._values(), chance.choice(self._ids)],
            )
        elif kind < 0.85:
            place, key = chance.randrange(len(self._ids)), self._key()
            self._execute("update item set id = %s where id = %s", [key, self._ids[place]])
            self._ids[place] = key
        else:
            self._execute("delete from item where id = %s", [self._ids.pop(chance.randrange(len(self._ids)))])

    def _key(self) -> int:
        self._next += 1
        return self._next * 10 + self._number

    def _values(self) -> list[object]:
        chance = self._chance
        return [
            chance.choice((None, Decimal(chance.randint(-(10**12), 10**12)).scaleb(-4))),
            chance.choice((None, chance.randint(-(2**62), 2**62))),
            chance.choice((None, date(2020, 1, 1) + timedelta(chance.randint(0, 3000)))),
            chance.choice((None, datetime(2020, 1, 1) + timedelta(microseconds=chance.randint(0, 10**14)))),
            chance.choice((None, "", "Grüße, é €", "a " * chance.randint(1, 200))),
        ]


def mysql_writer(server: Mariadb, database: str, number: int) -> ItemWriter:
    session = server.connect(database, autocommit=False)
    cursor = session.cursor()
    cursor.execute("set time_zone = '+00:00'")
    return ItemWriter(number, session.begin, cursor.execute, session.commit)  # type: ignore[arg-type]


def postgres_writer(dsn: str, number: int) -> ItemWriter:
    session = psycopg.connect(dsn)
    session.execute("set time zone 'UTC'")
    session.commit()

    def execute(statement: str, values: list[object]) -> None:
        session.execute(statement.encode(), values)

    return ItemWriter(number, lambda: None, execute, session.commit)


def mysql_rows(server: Mariadb, database: str) -> Rows:
    rows = server.root("set time_zone = '+00:00'", f"select {', '.join(COLUMNS)} from item", database=database)
    return {str(row[0]): dict(zip(COLUMNS[1:], row[1:], strict=True)) for row in rows}


def postgres_rows(dsn: str) -> Rows:
    with psycopg.connect(dsn) as session:
        session.execute("set time zone 'UTC'")
        rows = session.execute(f"select {', '.join(COLUMNS)} from item".encode()).fetchall()
    plain = [[one.replace(tzinfo=None) if isinstance(one, datetime) else one for one in row] for row in rows]
    return {str(row[0]): dict(zip(COLUMNS[1:], row[1:], strict=True)) for row in plain}


def test_both_ways_end_equal_whatever_is_killed(
    stack: Addresses,
    mariadb_server: Mariadb,
    mariadb: Callable[..., str],
    make_database: Callable[[str], str],
    unique: str,
    tmp_path: Path,
    report: Report,
) -> None:
    shop, copy = mariadb(MYSQL), mariadb()
    crm, books, state = make_database(POSTGRES), make_database("select 1"), make_database("select 1")
    env = {**stack.env(), "SORBUS_DATABASE": state}
    office = Office(tmp_path, unique, {**env, "CRM": crm, "BOOKS": books, "PASSWORD": "secret"})

    def mysql(database: str) -> dict[str, object]:
        connection = {**mariadb_server.connection(database), "password": "${PASSWORD}"}
        return {"kind": "mysql", "connection": connection, "owner": "Sales"}

    def postgres(name: str) -> dict[str, object]:
        return {"kind": "postgres", "connection": {"dsn": f"${{{name}}}"}, "owner": "Sales"}

    office.write(
        {
            "systems": {
                "shop": mysql(shop), "copy": mysql(copy), "crm": postgres("CRM"), "books": postgres("BOOKS"),
            },
            "data_types": {
                "ware": {"schema": "item", "system_of_record": "shop", "source": {"table": "item"}},
                "part": {"schema": "item", "system_of_record": "crm", "source": {"table": "item"}},
            },
            "flows": [
                {"data_type": "ware", "to": "books", "target": {"table": "item"}},
                {"data_type": "part", "to": "copy", "target": {"table": "item"}},
            ],
        },
        (),
        {"item": SCHEMA},
    )  # fmt: skip
    writers = [mysql_writer(mariadb_server, shop, number) for number in range(WRITERS)]
    writers += [postgres_writer(crm, number) for number in range(WRITERS)]
    for writer in writers:
        writer.work(CHANGES // WRITERS // 5)
    assert "item" in office.sorbus("discover", "shop")
    office.sorbus("map", "check")
    office.sorbus("apply", "--yes")
    began = time.monotonic()
    each = CHANGES // WRITERS * 4 // 5 // KILLS + 1
    moments = random.Random(7)
    for _ in range(KILLS):
        with office.killed():
            threads = [threading.Thread(target=writer.work, args=(each,)) for writer in writers]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(120)
            time.sleep(moments.uniform(3, 9))  # not always at the same moment of Sorbus's work
    with office.up():

        def missing() -> str:
            told = unlike(postgres_rows(books), mysql_rows(mariadb_server, shop))
            return told or unlike(mysql_rows(mariadb_server, copy), postgres_rows(crm))

        office.until(missing, 240, every=1.0)
        planned = [json.loads(office.sorbus("plan", flow, "--json")) for flow in ("ware-to-books", "part-to-copy")]
        compared = office.sorbus("reconcile", "part-to-copy")
        examined = office.sorbus("doctor", status=None)
        letters = office.sorbus("dlq", "groups", status=None)
    wares, parts = mysql_rows(mariadb_server, shop), postgres_rows(crm)
    made = [sum(writer.changes for writer in some) for some in (writers[:WRITERS], writers[WRITERS:])]
    report(
        f"MariaDB to PostgreSQL: {made[0]} changes, {len(wares)} rows; PostgreSQL to MariaDB: {made[1]} changes,"
        f" {len(parts)} rows; {WRITERS} writers each, {KILLS} kills of everything, {time.monotonic() - began:.0f} s"
    )
    assert min(made) >= CHANGES
    assert all(found["counts"]["nothing"] == found["records"] for found in planned), planned
    assert "no difference found" in compared
    assert "0 problems" in examined, examined
    assert "not canonical" not in letters, letters
