"""What plan says beforehand of a source's rows that will become dead letters, each with the fix that ends it."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from psycopg import sql

from sorbus.ops.runtime.planning import warnings
from sorbus.schema import AvroType
from tests.producers.shop import Shop

ITEM: list[AvroType] = [{"name": "name", "type": ["null", "string"], "default": None}]
WARNED = {
    "no key of the table's own": ("create table t (code text, name text)", ["code"], "code"),
    "a unique column": ("create table t (code text unique, name text)", ["code"], "code"),
    "one of two": ("create table t (a int not null, b int, name text, unique (a, b))", ["a", "b"], "b"),
    "two": ("create table t (a int, b int, name text, unique (a, b))", ["a", "b"], "a, b"),
    "nulls not distinct": (
        "create table t (code text, name text, unique nulls not distinct (code))", ["code"], "code"
    ),
    "partitioned": ("create table t (code text, name text, unique (code)) partition by list (code)", ["code"], "code"),
    "identity taken by an index": (
        'create table t (id int primary key, "Code" text unique, name text)', ["Code"], "Code"
    ),
}  # fmt: skip
UNWARNED = {
    "primary key": ("create table t (code text primary key, name text)", ["code"]),
    "not null": ("create table t (code text not null unique, name text)", ["code"]),
    "by a domain's index": ("create domain d as text; create table t (code d primary key, name text)", ["code"]),
}


def _described(make_shop: Callable[..., Shop], statements: str, key: list[str]) -> Shop:
    shop = make_shop(statements)
    shop.describe({"item": (ITEM, {"table": "t", "key": key})})
    return shop


@pytest.mark.parametrize(("statements", "key", "named"), WARNED.values(), ids=WARNED)
def test_a_key_column_that_may_be_null_is_told_until_the_cure_is_carried_out(
    make_shop: Callable[..., Shop], statements: str, key: list[str], named: str
) -> None:
    shop = _described(make_shop, statements, key)
    [warning] = warnings(shop.loaded(), shop.settings)
    assert f" {named} of public.t (item) may be NULL" in warning
    fix = warning.partition("run: ")[2].partition(";")[0]
    shop.execute(fix)
    assert warnings(shop.loaded(), shop.settings) == []


@pytest.mark.parametrize(("statements", "key"), UNWARNED.values(), ids=UNWARNED)
def test_a_key_that_always_has_values_is_not_told_of(
    make_shop: Callable[..., Shop], statements: str, key: list[str]
) -> None:
    assert warnings((shop := _described(make_shop, statements, key)).loaded(), shop.settings) == []


@pytest.mark.parametrize(
    ("encoding", "words"),
    [("SQL_ASCII", "aren't UTF-8 become dead letters"), ("EUC_TW", "can't convert"), ("WIN1252", ""), ("UTF8", "")],
)
def test_a_database_whose_bytes_may_be_no_text_is_told_of(
    make_shop: Callable[..., Shop], encoding: str, words: str
) -> None:
    shop = make_shop("select 1")
    name = shop.dsn.rpartition("/")[2] + "_other"
    with psycopg.connect(shop.dsn, autocommit=True) as owner:
        owner.execute(
            sql.SQL("create database {} template template0 encoding {} locale_provider libc locale 'C'").format(
                sql.Identifier(name), sql.Literal(encoding)
            )
        )
        try:
            other = shop.dsn.rpartition("/")[0] + "/" + name
            with psycopg.connect(other, autocommit=True, client_encoding="utf8") as inside:
                inside.execute("create table t (code text primary key, name text)")
            shop.describe({"item": (ITEM, {"table": "t"})}, dsn=other)
            found = warnings(shop.loaded(), shop.settings)
        finally:
            owner.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
    assert len(found) == bool(words)
    assert all(words in one and f"{name} is in {encoding}" in one and "createdb -E UTF8" in one for one in found)
