"""Whatever orders its keys, a snapshot beside the stream has each record once, wherever its chunks begin and end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sorbus.producers.postgres import incremental_snapshot
from sorbus.schema import AvroType
from tests.producers.shop import Shop

MakeShop = Callable[..., Shop]
FIELDS: list[AvroType] = [{"name": "name", "type": "string"}]
TYPES = """
create type size as enum ('small', 'medium', 'large', 'b', 'a');
create domain code as varchar(4);
create table things (id int primary key, name text not null);
insert into things values (1, 'thing');
"""
KEYS = {
    "enums": ("k size primary key", [f"('{value}')" for value in ("small", "medium", "large", "b", "a")]),
    "equal_numbers": ("k numeric not null", ["(1)", "(1.0)", "(1.00)", "(2)", "(2.0)", "(1.000)", "(3)"]),
    "texts": ("k text primary key", ["('ä')", "('a')", "('Z')", "('z')", "('o''x')", "('\\')"]),
    "padded": ("k char(5) primary key", ["('b')", "('a b')", "('a')", "('ab')"]),
    "domains": ("k code primary key", ["('b')", "('a')", "('10')", "('9')"]),
    "floats": ("k float8 primary key", ["('NaN')", "('-infinity')", "(0.1)", "(1e300)", "('infinity')", "(-1e-300)"]),
    "moments": ("k timestamptz primary key", ["('infinity')", "(now())", "('2020-03-01 00:00+05')", "('-infinity')"]),
    "pairs": ("k text, l int, primary key (k, l)", ["('b', 1)", "('a', 10)", "('a', 9)", "('a', -1)", "('|', 0)"]),
    "nulls": ("k int unique", ["(2)", "(1)", "(null)", "(3)", "(5)", "(4)", "(6)"]),
}


def test_every_kind_of_key(make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incremental_snapshot, "_ROWS", 2)
    made = []
    for name, (columns, rows) in KEYS.items():
        keys = "k, l" if "l int" in columns else "k"
        made.append(f"create table {name} ({columns}, name text not null default 'x');")
        made.append(f"insert into {name} ({keys}) values {', '.join(rows)};")
    shop = make_shop(TYPES + "\n".join(made))
    thing = {"thing": (FIELDS, {"table": "things"})}
    shop.describe(thing)
    shop.apply()
    things = shop.tape("thing")
    with shop.producing():
        things.wait_for({"1": {"name": "thing"}})
    sources = {name: {"table": name, "key": ["k", "l"] if name == "pairs" else ["k"]} for name in KEYS}
    shop.describe({**thing, **{name: (FIELDS, source) for name, source in sources.items()}})
    shop.apply()
    letters = shop.dead_letters("nulls")
    with shop.producing():
        for name in KEYS:
            tape, key = shop.tape(name), "replace(k, '|', '%7C') || '|' || l" if name == "pairs" else "k::text"
            key = "k || repeat(' ', 5 - length(k))" if name == "padded" else key
            ids = [str(id) for (id,) in shop.rows(f"select {key} from {name} where k is not null")]
            tape.wait_for({id: {"name": "x"} for id in ids})
            assert sorted(event.id for event in tape.events) == sorted(ids), f"{name}: lost or doubled"
        letters.wait(lambda: len(letters.letters) == 1, "the letter of the row without a key")
