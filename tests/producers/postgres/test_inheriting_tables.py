"""Tables that begin or end to inherit from a captured one, described by the stream before a look at the catalog."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from sorbus.producers.postgres import open_source
from sorbus.producers.postgres.tables import Member, TableMemory, TableState, untold
from sorbus.schema import AvroType
from tests.producers.postgres.live import Live
from tests.producers.shop import Record, Shop

TEXT: list[AvroType] = [{"name": "v", "type": ["null", "string"]}]
TABLES = """
create table base (id text primary key, v text);
create table heir (primary key (id)) inherits (base);
insert into base values ('1', 'one');
insert into heir values ('11', 'eleven'), ('12', 'twelve');
create table marks (id text primary key, v text);
"""
ALL = "create publication {slot} for all tables with (publish_via_partition_root = true)"
CASES = {
    "made": (
        ALL,
        ["create table late (primary key (id)) inherits (base)", "insert into late values ('21', 'a')"],
        "late",
    ),
    "made and published": (
        "",
        [
            "create table late (primary key (id)) inherits (base)",
            "alter publication {slot} add table late",
            "insert into late values ('21', 'a')",
        ],
        "late",
    ),
    "linked, and filled and emptied": (
        ALL,
        [
            "create table late (id text primary key, v text)",
            "alter table late inherit base",
            "insert into late values ('21', 'a')",
            "delete from late",
        ],
        "late",
    ),
    "described without its key": (
        ALL,
        [
            "create table late (v text)",
            "insert into late values ('a')",
            "truncate late",
            "alter table late add id text not null primary key",
            "alter table late inherit base",
        ],
        "late",
    ),
    "unlinked": (ALL, ["alter table heir no inherit base", "insert into heir values ('21', 'a')"], "heir"),
}


def rows(shop: Shop) -> dict[str, Record]:
    return {str(id): {"v": v} for id, v in shop.rows("select id, v from base")}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_the_rows_of_a_table_count_from_the_look_on(
    make_shop: Callable[[str], Shop], monkeypatch: pytest.MonkeyPatch, case: tuple[str, list[str], str]
) -> None:
    publication, statements, table = case
    shop = make_shop(TABLES)
    shop.describe({"heirloom": (TEXT, {"table": "base", "key": ["id"]}), "mark": (TEXT, {"table": "marks"})})
    if publication:
        shop.execute(publication.format(slot=shop.slot))
    live, number = Live(shop), 0

    def streamed() -> None:
        """Until the stream has told all that has been done."""
        nonlocal number
        number += 1
        shop.execute(f"insert into marks values ('{number}', '')")
        live.wait(lambda: str(number) in live.records("mark"), lambda: "the last mark")

    def is_equal() -> bool:
        return live.records("heirloom") == rows(shop)

    live.wait(is_equal, lambda: live.records("heirloom"))
    shop.execute("update base set v = v || '.'")
    streamed()
    shop.execute(*[each.format(slot=shop.slot) for each in statements])
    streamed()
    monkeypatch.setattr(open_source, "_LOOK_EVERY", 0.0)
    live.wait(is_equal, lambda: live.records("heirloom"))
    end = time.monotonic() + 0.5
    live.wait(lambda: time.monotonic() > end, lambda: "a few looks")
    shop.execute(f"insert into {table} (id, v) values ('22', 'b')")
    streamed()
    assert live.records("heirloom") == rows(shop)
    live.close()


def test_what_is_computed_in_an_inheriting_table_alone_changes(
    make_shop: Callable[[str], Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make_shop(
        "create table base (id text primary key, n int, v text generated always as ((n + 1)::text) stored);"
        " create table heir (primary key (id)) inherits (base);"
        " insert into base values ('1', 1); insert into heir values ('2', 2)"
    )
    if shop.rows("select current_setting('server_version_num')::int < 170000")[0][0]:
        pytest.skip("an expression can't be set")
    shop.describe({"heirloom": (TEXT, {"table": "base", "key": ["id"]})})
    live = Live(shop)
    live.wait(lambda: live.records("heirloom") == rows(shop), lambda: live.records("heirloom"))
    monkeypatch.setattr(open_source, "_LOOK_EVERY", 0.1)
    shop.execute("alter table heir alter v set expression as ((n + 5)::text)")
    live.wait(lambda: live.records("heirloom") == rows(shop), lambda: live.records("heirloom"))
    live.close()


def test_a_position_of_an_earlier_release_says_nothing_of_what_is_computed() -> None:
    heir = Member(7, "public.heir", "r", "p", "inherits", False, 7, "1", "5", False, (), "d", ("id",), True, False, "x")
    root = heir._replace(oid=6, name="public.base", via="", filenode=6, computed="")
    table = TableState("public.base", {6: root, 7: heir}, {})
    (text,) = (found for oid, found in table.memory(()).members.items() if oid == "7")
    for known, differs in ((text, False), (text.partition("#")[0], False), (text.replace("#x", "#y"), True)):
        memory = TableMemory(6, {"6": "6/", "7": known})
        why = untold(None, memory, table, (), is_named=True)  # type: ignore[arg-type]
        assert (why is not None) == differs
