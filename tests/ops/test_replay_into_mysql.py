"""Replay into MariaDB: an emptied table is rebuilt, deleted records that the flow keeps too."""

from __future__ import annotations

from pathlib import Path

import pytest

from sorbus.ops.embedded import Addresses
from tests.acceptance.office import Office, execute
from tests.databases import new_database
from tests.mariadb import Mariadb, mariadb_server

__all__ = ["mariadb_server"]
COUNTS = "select count(*), count(sorbus_deleted_at) from jobs"


@pytest.mark.slow
def test_deleted_records_that_a_flow_keeps_come_back(
    stack: Addresses, mariadb_server: Mariadb, unique: str, tmp_path: Path
) -> None:
    dsns = [new_database(stack.database) for _ in range(2)]
    execute(dsns[0], "create table jobs (id int primary key, title text); insert into jobs values (1, 'a'), (2, 'b')")
    shop = mariadb_server.make_database(unique)
    env = {**stack.env(), "CRM_DSN": dsns[0], "SORBUS_DATABASE": dsns[1], "SHOP_PASSWORD": "secret"}
    office = Office(tmp_path, dsns[0].rpartition("/")[2], env)
    connection = {**mariadb_server.connection(shop), "password": "${SHOP_PASSWORD}"}
    office.write(
        {
            "systems": {
                "crm": {"kind": "postgres", "connection": {"dsn": "${CRM_DSN}"}},
                "shop": {"kind": "mysql", "connection": connection},
            },
            "data_types": {"job": {"system_of_record": "crm", "source": {"table": "jobs"}}},
            "flows": [{"data_type": "job", "to": "shop", "deletes": "soft", "target": {"table": "jobs"}}],
        },
        schemas={"job": [{"name": "title", "type": "string"}]},
    )
    office.sorbus("apply", "--yes")

    def counts() -> tuple[object, ...]:
        return mariadb_server.root(COUNTS, database=shop)[0]

    with office.up():
        office.until(lambda: counts() != (2, 0), 60, every=0.2)
        execute(dsns[0], "delete from jobs where id = 2")
        office.until(lambda: counts() != (2, 1), 60, every=0.2)
    mariadb_server.root("delete from jobs", database=shop)
    office.sorbus("replay", "job-to-shop")
    assert counts() == (2, 1)
