"""What discovery reads of odd tables: none of them ends it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sorbus.producers.mysql.producer import MysqlProducer
from tests.mariadb import Mariadb
from tests.producers.mysql.test_hard_cases import Shop

pytestmark = pytest.mark.slow


def test_invisible_columns_odd_names_and_views_of_what_is_gone(
    mariadb_server: Mariadb, mariadb: Callable[..., str]
) -> None:
    database = mariadb(
        "create table thing (id int primary key, `a%b` int, hidden int invisible, `c``d` text)",
        "insert into thing (id, `a%b`, hidden) values (1, 2, 3)",
        "create table gone (x int)",
        "create view broken as select * from gone",
        "drop table gone",
        "create table kept (id int primary key) with system versioning",
        "create sequence numbers",
    )
    system = Shop(mariadb_server, database).system()
    found = {one.name: [field.name for field in one.fields] for one in MysqlProducer.discover(system)}
    assert found["thing"] == ["id", "a%b", "hidden", "c`d"]
    assert found["kept"] == ["id"]
    samples = {name: MysqlProducer.sample(system, name, 5) for name in found}
    assert samples["thing"] == [{"id": "1", "a%b": "2", "hidden": "3", "c`d": None}]
    assert samples["broken"] == []
    nulls = MysqlProducer.count_nulls(system, found)
    assert [nulls["thing", name].nulls for name in found["thing"]] == [0, 0, 0, 1]
