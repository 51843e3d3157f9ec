"""`apply` leaves no table in a state in which its owner's writes fail: it tries, or says what a person must decide."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from sorbus.connector import Step
from sorbus.errors import SorbusError
from sorbus.schema import AvroType
from tests.producers.shop import Shop

MakeShop = Callable[..., Shop]
ITEM: list[AvroType] = [{"name": "id", "type": "long"}, {"name": "name", "type": ["null", "string"]}]
TABLES = {
    "a deferrable key": "create table items (id int primary key deferrable initially deferred, name text)",
    "no key at all": "create table items (id int, name text)",
    "a unique index that may serve": "create table items (id int not null unique, name text)",
    "identity nothing": "create table items (id int primary key, name text);alter table items replica identity nothing",
    "its identity's index dropped": "create table items (id int not null, name text);"
    "create unique index u on items (id); alter table items replica identity using index u; drop index u",
    "a partial index": "create table items (id int not null, name text);"
    "create unique index u on items (id) where id > 0",
    "leaves without a key": "create table items (id int, name text) partition by list (id);"
    "create table items_1 partition of items for values in (1); create table items_2 partition of items default",
    "a computed column and a deferrable key": "create table items (id int primary key deferrable, name text,"
    " twice int generated always as (id * 2) stored)",
    "a virtual column and no key": "create table items (id int, name text,"
    " twice int generated always as (id * 2) virtual)",
    "a computed column and full identity": "create table items (id int primary key, name text,"
    " twice int generated always as (id * 2) stored); alter table items replica identity full",
    "another publication of columns": "create table items (id int primary key, code int not null default 1, name text);"
    "create publication others for table items (id, name)",
    "another publication of rows": "create table items (id int primary key, name text);"
    "create publication others for table items where (id > 1)",
    "an audit trigger that objects": "create table items (id int, name text);"
    "create function no() returns trigger language plpgsql as $$ begin raise 'never'; end $$;"
    "create trigger t before delete on items for each statement execute function no()",
}
NEWER = {"a virtual column and no key": 18, "another publication of columns": 15, "another publication of rows": 15}
"""From which version on there are such tables."""
BY_HAND = {
    "a computed column and a deferrable key",
    "a virtual column and no key",
    "a computed column and full identity",
    "another publication of columns",
}
UNHARMED_BEFORE_18 = {"a computed column and a deferrable key", "a computed column and full identity"}
"""Older servers don't refuse writes to a table whose identity holds a computed column."""


def writes(shop: Shop) -> list[str]:
    """What the owner's own writes meet, undone afterwards."""
    met = []
    for statement in ("insert into items (id) values (1)", "update items set name = 'x'", "delete from items"):
        with psycopg.connect(shop.dsn) as connection:
            try:
                connection.execute("set session_replication_role = replica")  # without the triggers
                connection.execute(statement.encode())
            except psycopg.Error as error:
                met.append(str(error).splitlines()[0])
            connection.rollback()
    return met


@pytest.mark.parametrize("case", TABLES)
def test_the_owner_writes_as_before_whatever_the_table(make_shop: MakeShop, case: str, server_version: int) -> None:
    if server_version < NEWER.get(case, 0):
        pytest.skip("this version has no such tables")
    shop = make_shop(TABLES[case])
    assert not writes(shop)
    key = ["code"] if case == "another publication of columns" else ["id"]
    shop.describe({"item": (ITEM, {"table": "items", "key": key})})
    steps = _steps(shop)
    for step in steps:
        if step.apply is not None:
            step.apply()
    assert not writes(shop), [step.what for step in steps]
    by_hand = [step for step in steps if step.apply is None]
    expected = BY_HAND if server_version >= 18 else BY_HAND - UNHARMED_BEFORE_18
    assert bool(by_hand) == (case in expected), by_hand
    if by_hand:
        assert "public.items" in by_hand[0].what
        assert "generated columns" in by_hand[0].detail or "others" in by_hand[0].detail
        assert shop.rows("select * from pg_publication_tables where pubname like 'sorbus%'") == []
    else:
        assert [step.what for step in _steps(shop)] == [f"slot {shop.slot}"]


def test_a_step_that_would_break_writes_all_the_same_changes_nothing(make_shop: MakeShop) -> None:
    shop = make_shop("create table items (id int primary key, name text)")
    shop.describe({"item": (ITEM, {"table": "items"})})
    (publication, _) = _steps(shop)
    shop.execute("alter table items drop constraint items_pkey")  # after the plan was shown
    assert publication.apply is not None
    with pytest.raises(SorbusError, match=r"nothing was changed.*public\.items.*replica identity"):
        publication.apply()
    assert not writes(shop)
    assert shop.rows("select * from pg_publication where pubname like 'sorbus%'") == []


def test_a_lock_that_somebody_holds_makes_apply_wait_a_moment_and_nobody_behind_it(make_shop: MakeShop) -> None:
    shop = make_shop("create table items (id int, name text)")
    shop.describe({"item": (ITEM, {"table": "items", "key": ["id"]})})
    identity = _steps(shop)[0]
    assert identity.apply is not None
    with psycopg.connect(shop.dsn) as other:
        other.execute("select * from items")
        with pytest.raises(SorbusError, match="lock timeout"):
            identity.apply()


def test_what_is_broken_already_is_told(make_shop: MakeShop, server_version: int) -> None:
    if server_version < 15:
        pytest.skip("this version has no lists of columns")
    shop = make_shop("create table items (id int primary key, name text)")
    shop.describe({"item": (ITEM, {"table": "items"})})
    for step in _steps(shop):
        assert step.apply is not None
        step.apply()
    shop.execute("create table more (id int primary key, name text); create publication theirs for table items (name)")
    told = [step for step in _steps(shop) if step.apply is None]
    assert len(told) == 1
    assert "UPDATE and DELETE of public.items fail" in told[0].what


def _steps(shop: Shop) -> list[Step]:
    """What plan says, other than of keys that aren't unique."""
    loaded = shop.loaded()
    steps = loaded.producer("shop").plan(loaded.system("shop", "producer"), loaded.sources("shop"))
    return [step for step in steps if not step.what.startswith("no unique index")]
