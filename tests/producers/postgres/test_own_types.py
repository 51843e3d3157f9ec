"""Arrays and values of types of one's own: enums, domains over domains, composites, ranges, extensions' types."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from psycopg.types.array import ListDumper

from sorbus.producers.postgres.arrays import read_array
from sorbus.schema import AvroType
from tests.producers.postgres.live import Live
from tests.producers.shop import Shop

TEXT: AvroType = ["null", "string"]
TEXTS: AvroType = {"type": "array", "items": TEXT}
COLUMNS: dict[str, tuple[str, AvroType, str, object]] = {
    "moods": ("mood[]", TEXTS, "'{sad,happy}'", ["sad", "happy"]),
    "shorts": ("shorter[]", TEXTS, "'{a,\"b c\",NULL}'", ["a", "b c", None]),
    "whole": ("whole", "long", "'7'", 7),
    "wholes": ("wholes", {"type": "array", "items": "int"}, "'{1,2}'", [1, 2]),
    "yes": ("yes", "boolean", "'t'", True),
    "boxes": ("box_size[]", TEXTS, "array[row(1,2)::box_size]", ["(1,2)"]),
    "span": ("span", TEXT, "'[a,c)'", "[a,c)"),
    "spans": ("span[]", TEXTS, "'{\"[a,c)\"}'", ["[a,c)"]),
    "words": ("citext[]", TEXTS, "'{Abc,\"d,e\"}'", ["Abc", "d,e"]),
    "paths": ("ltree[]", TEXTS, "'{a.b,c}'", ["a.b", "c"]),
    "marked": ("mood_domain[]", TEXTS, "'{ok}'", ["ok"]),
}
TYPES = """
create extension citext; create extension ltree;
create type mood as enum ('sad', 'ok', 'happy'); create domain mood_domain as mood;
create domain short as varchar(10); create domain shorter as short check (value <> 'x');
create domain whole_0 as int; create domain whole as whole_0 check (value > 0); create domain wholes as int[];
create domain yes as boolean; create type box_size as (w int, h int); create type span as range (subtype = text);
"""


def test_values_of_own_types_and_those_added_while_it_runs(make_shop: Callable[..., Shop]) -> None:
    names = ", ".join(COLUMNS)
    values = ", ".join(value for _, _, value, _ in COLUMNS.values())
    shop = make_shop(
        TYPES
        + f"create table items (id int primary key, {', '.join(f'{n} {t}' for n, (t, _, _, _) in COLUMNS.items())});"
        + f"insert into items (id, {names}) values (1, {values})"
    )
    fields: list[AvroType] = [{"name": "id", "type": "long"}]
    fields += [{"name": name, "type": avro} for name, (_, avro, _, _) in COLUMNS.items()]
    shop.describe({"item": (fields, {"table": "items"})})
    live = Live(shop)
    record = {"id": 1, **{name: found for name, (_, _, _, found) in COLUMNS.items()}}
    try:
        live.wait(lambda: live.records("item") == {"1": record}, lambda: (live.records("item"), live.rejects))
        shop.execute(f"insert into items (id, {names}) values (2, {values})", "alter type mood add value 'new'")
        shop.execute(
            "alter type box_size add attribute d int",
            f"insert into items (id, {names}) values (3, {values.replace('row(1,2)', 'row(1,2,3)')})",
            "update items set moods = '{new}' where id = 3",
        )
        last = {**record, "id": 3, "moods": ["new"], "boxes": ["(1,2,3)"]}
        live.wait(
            lambda: {"2": {**record, "id": 2}, "3": last}.items() <= live.records("item").items(),
            lambda: (live.records("item"), live.rejects),
        )
    finally:
        live.close()


_ELEMENT = st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@given(st.lists(_ELEMENT, max_size=5) | st.lists(st.lists(_ELEMENT, min_size=2, max_size=2), min_size=1, max_size=3))
def test_an_array_is_read_as_psycopg_writes_it(elements: list[object]) -> None:
    written = ListDumper(list, None).dump(elements)
    assert written is not None
    assert read_array(bytes(written), bytes.decode) == elements


def test_bounds_and_another_delimiter() -> None:
    assert read_array(b"[5:6]={a,b}", bytes.decode) == ["a", "b"]
    assert read_array(b"{(1,1),(0,0);(2,2),(1,1)}", bytes.decode, b";") == ["(1,1),(0,0)", "(2,2),(1,1)"]
    for bad in (b"", b"a", b"{", b"{a", b"{}}", b'{"a}', b"{{}"):
        try:
            read_array(bad, bytes.decode)
        except ValueError:
            continue
        raise AssertionError(bad)
