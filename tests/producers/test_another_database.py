"""A connection that leads to another database copies nothing and deletes nothing until a person names that database."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import psycopg
import pytest

from sorbus.errors import ExitCode, LostPosition
from sorbus.producers.postgres.position import PostgresPosition
from sorbus.producers.postgres.server import Server, another_database
from sorbus.schema import AvroType
from tests.producers.shop import Shop

MakeShop = Callable[..., Shop]
MakeDatabase = Callable[[str], str]
ITEM: list[AvroType] = [{"name": "id", "type": "long"}, {"name": "name", "type": ["null", "string"]}]
TABLE = "create table items (id int primary key, name text);"
SOURCE = {"item": (ITEM, {"table": "items"})}


def published(make_shop: MakeShop, system: Mapping[str, object]) -> Shop:
    shop = make_shop(TABLE + "insert into items values (1, 'one'), (2, 'two')")
    shop.describe(SOURCE, system)
    shop.apply()
    tape = shop.tape("item")
    with shop.producing():
        tape.wait(lambda: len(tape.live()) == 2, "the initial snapshot")
    return shop


def identity(dsn: str) -> str:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "select format('%s/%s/%s', system_identifier, datname, oid) from pg_control_system(), pg_database"
            " where datname = current_database()"
        ).fetchone()
    assert row is not None
    return str(row[0])


def refused(shop: Shop) -> str:
    error = shop.start().ended()
    assert isinstance(error, LostPosition), error
    assert error.exit_code == ExitCode.REFUSED
    return str(error)


@pytest.mark.parametrize("policy", ["stop", "resnapshot"])
@pytest.mark.parametrize("script", ["", TABLE, TABLE + "insert into items values (7, 'foreign')"])
def test_another_database_is_not_read_until_a_person_names_it(
    make_shop: MakeShop, make_database: MakeDatabase, policy: str, script: str
) -> None:
    shop = published(make_shop, {"on_lost_slot": policy})
    other = make_database(script)
    for accepted in (None, identity(shop.dsn), "1/elsewhere/2"):
        shop.describe(SOURCE, {"on_lost_slot": policy, "accept_source": accepted}, dsn=other)
        told = refused(shop)
        for word in (identity(shop.dsn), f'`accept_source: "{identity(other)}"`', "fix `connection:`"):
            assert word in told
    shop.describe(SOURCE, {"on_lost_slot": policy})
    tape = shop.tape("item")
    with shop.producing():  # back where it belongs, it goes on as if nothing had been
        shop.execute("insert into items values (3, 'three')")
        tape.wait(lambda: set(tape.live()) == {"1", "2", "3"}, "the next row")
    assert len(tape.events) == 3


def test_a_named_database_is_copied_and_what_it_lacks_is_deleted(
    make_shop: MakeShop, make_database: MakeDatabase
) -> None:
    shop = published(make_shop, {})
    other = make_database(TABLE + "insert into items values (2, 'zwei'), (7, 'foreign')")
    shop.drop_slot()
    shop.dsn = other
    shop.describe(SOURCE, {"accept_source": identity(other)})
    shop.apply()
    tape = shop.tape("item")
    with shop.producing():
        tape.wait_for({"2": {"id": 2, "name": "zwei"}, "7": {"id": 7, "name": "foreign"}})
    count = len(tape.events)
    with shop.producing():  # the line may stay in the map
        shop.execute("insert into items values (8, 'next')")
        tape.wait(lambda: "8" in tape.live(), "the next row")
    assert len(tape.events) == count + 1


def test_a_renamed_database_is_the_same(make_shop: MakeShop) -> None:
    shop = published(make_shop, {})
    before, _, name = shop.dsn.rpartition("/")
    with psycopg.connect(f"{before}/postgres", autocommit=True) as admin:
        admin.execute(f"alter database {name} rename to {name}_renamed".encode())
    shop.dsn += "_renamed"
    shop.describe(SOURCE, {})
    tape = shop.tape("item")
    with shop.producing():
        shop.execute("insert into items values (3, 'three')")
        tape.wait(lambda: "3" in tape.live(), "the next row")
    assert len(tape.events) == 3


NOW = Server("71/crm", 16384, 1, 99)


@pytest.mark.parametrize(
    ("was", "database", "is_other"),
    [
        ("71/crm", 16384, False),
        ("71/crm_old", 16384, False),  # renamed
        ("71/crm", 0, False),  # a position of before oids were kept
        ("71/crm_old", 0, True),
        ("71/crm", 16385, True),  # made anew
        ("72/crm", 16384, True),  # another cluster whose oids are the same
        ("72/crm", 0, True),
        ("7/1/crm", 16384, True),
    ],
)
def test_a_database_is_known_by_its_cluster_and_oid(was: str, database: int, is_other: bool) -> None:
    state = PostgresPosition(was, 10, 10, database=database)
    assert (another_database(state, NOW) is not None) == is_other
