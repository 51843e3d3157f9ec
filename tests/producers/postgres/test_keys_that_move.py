"""Keys that are shifted, swapped, left and taken within real transactions: no record that the source has is lost."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sorbus.errors import TransientError
from sorbus.producers.postgres import collect
from sorbus.schema import AvroType
from tests.producers.postgres.live import Live
from tests.producers.shop import Shop
from tests.search import examples

TABLES = """
create table slots (id int primary key deferrable initially deferred, name text, big text);
alter table slots replica identity full;
alter table slots alter big set storage external;
create table parts (region int, id int, name text, primary key (region, id) deferrable initially deferred)
  partition by list (region);
create table parts_1 partition of parts for values in (1);
create table parts_2 partition of parts for values in (2);
create table parts_3 partition of parts default;
alter table parts_1 replica identity full;
alter table parts_2 replica identity full;
alter table parts_3 replica identity full;
alter table parts replica identity full;
create table orders (id int primary key deferrable initially deferred, name text);
alter table orders replica identity full;
create table lines (order_id numeric, no int, sku text, primary key (order_id, no) deferrable initially deferred);
alter table lines replica identity full;
"""
_TEXT: AvroType = ["null", "string"]
_LINE: AvroType = {"type": "record", "name": "line",
                   "fields": [{"name": "no", "type": "long"}, {"name": "sku", "type": _TEXT}]}  # fmt: skip
DATA_TYPES: dict[str, tuple[Sequence[AvroType], dict[str, object]]] = {
    "slot": ([{"name": "id", "type": "long"}, {"name": "name", "type": _TEXT}, {"name": "big", "type": _TEXT}],
             {"table": "slots"}),
    "part": ([{"name": "region", "type": "long"}, {"name": "id", "type": "long"}, {"name": "name", "type": _TEXT}],
             {"table": "parts", "key": ["region", "id"]}),
    "order": ([{"name": "id", "type": "long"}, {"name": "name", "type": _TEXT},
               {"name": "lines", "type": {"type": "array", "items": _LINE}}],
              {"table": "orders", "children": {"lines": {"table": "lines", "parent": ["order_id"], "order": ["no"]}}}),
}  # fmt: skip
SOURCE = {
    "slot": "select id::text, json_build_object('id', id, 'name', name, 'big', big) from slots",
    "part": "select region || '|' || id, json_build_object('region', region, 'id', id, 'name', name) from parts",
    "order": "select o.id::text, json_build_object('id', o.id, 'name', o.name, 'lines', coalesce((select json_agg("
    " json_build_object('no', l.no, 'sku', l.sku) order by l.no) from lines l where l.order_id = o.id), '[]'))"
    " from orders o",
}
_ID = st.integers(1, 6)
_NAME = st.sampled_from(["a", "b", "c"])
_TABLE = st.sampled_from(["slots", "parts", "orders"])
_BIG = "repeat(md5('{0}'), 100)"


def _statement(table: str, low: int, high: int, to: int, name: str, kind: str) -> str:
    """One statement that does something to keys."""
    own = {"slots": "id, name, big", "parts": "region, id, name", "orders": "id, name"}[table]
    values = {"slots": f"{to}, '{name}', {_BIG.format(name)}", "parts": f"{high % 4}, {to}, '{name}'",
              "orders": f"{to}, '{name}'"}[table]  # fmt: skip
    return {
        "shift": f"update {table} set id = id + 1 where id between {min(low, high)} and {max(low, high)}",
        "back": f"update {table} set id = id - 1 where id between {min(low, high)} and {max(low, high)}",
        "swap": f"update {table} set id = case id when {low} then {high} else {low} end where id in ({low}, {high})",
        "move": f"update {table} set id = {to} where id = {low}",
        "insert": f"insert into {table} ({own}) values ({values})",
        "delete": f"delete from {table} where id = {low}",
        "name": f"update {table} set name = '{name}' where id = {low}",
        "region": f"update parts set region = {high % 4} where id = {low}",
        "line": f"insert into lines values ({low}, {high}, '{name}')",
        "lines": f"update lines set order_id = order_id + 1.0 where no = {high}",
        "line moves": f"update lines set order_id = {to} where order_id = {low}",
        "line goes": f"delete from lines where no = {high}",
        "truncate": f"truncate {table}",
        "no lines": "truncate lines",
    }[kind]


_FILLED = [
    "insert into slots select n, 'slot ' || n from generate_series(1, 4) n",
    "insert into parts select n % 4, n, 'part ' || n from generate_series(1, 4) n",
    "insert into orders select n, 'order ' || n from generate_series(1, 4) n",
    "insert into lines select n, m, n || ' ' || m from generate_series(1, 4) n, generate_series(1, 2) m",
]
_EMPTIED = [f"delete from {table}" for table in ("slots", "parts", "orders", "lines")]
_SWAP = "update orders set id = 5 - id; update lines set order_id = order_id - 1.0"
_KINDS = st.sampled_from(
    ["shift", "back", "swap", "move", "insert", "insert", "insert", "delete", "name", "region", "line", "line", "lines",
     "line moves", "line goes"]
) | st.sampled_from(["truncate", "no lines", "swap", "shift"])  # fmt: skip
_STEP = st.builds(_statement, _TABLE, _ID, _ID, _ID, _NAME, _KINDS)
_TRANSACTIONS = st.lists(st.tuples(st.lists(_STEP, min_size=1, max_size=8), st.booleans()), min_size=1, max_size=6)


@pytest.fixture
def live(make_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    monkeypatch.setattr(collect, "MAX_CHANGES", 3)  # a transaction is many batches
    shop = make_shop(TABLES)
    shop.describe(DATA_TYPES)
    found = Live(shop)
    yield found
    found.close()


def _marked(live: Live, data_type: str, mark: str) -> bool:
    return any(record["name"] == mark for record in live.records(data_type).values())


def _is_as_source(live: Live, mark: str) -> None:
    """Waits until all that was committed has come, then compares with the source by its own SQL."""
    live.shop.execute(f"delete from slots where id = 99; insert into slots values (99, '{mark}')")
    live.wait(lambda: _marked(live, "slot", mark), lambda: f"the last change, {mark}")
    expected = {data_type: dict(live.shop.rows(query)) for data_type, query in SOURCE.items()}

    def differs() -> list[object]:
        return [
            (data_type, id, live.records(data_type).get(id), records.get(id))
            for data_type, records in expected.items()
            for id in live.records(data_type).keys() | records.keys()
            if live.records(data_type).get(id) != records.get(id)
        ]

    live.wait(lambda: not differs(), lambda: f"(is, should be) {differs()}", 10.0)


@pytest.mark.search
def test_whatever_transactions_do_to_keys_the_topics_end_as_the_source(live: Live) -> None:
    count = 0

    @settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(_TRANSACTIONS)
    @example([(["update slots set id = id + 1", _SWAP, "update parts set id = id + 1"], True)])
    @example([([_SWAP, "truncate slots", *_FILLED[:1], "update slots set id = 5 - id"], True)])
    def play(transactions: list[tuple[list[str], bool]]) -> None:
        nonlocal count
        for statements, crashes in [(_EMPTIED, False), (_FILLED, False), *transactions]:
            with psycopg.connect(live.shop.dsn) as connection:
                for statement in statements:
                    try:
                        with connection.transaction():
                            connection.execute(statement.encode())
                    except psycopg.errors.IntegrityError:
                        continue
                try:
                    connection.commit()
                except psycopg.errors.IntegrityError:  # two rows of one key in the end
                    continue
            if crashes:
                with contextlib.suppress(TransientError):  # a partition was emptied while it was read: read again
                    live.step()
                live.close()
        count += 1
        _is_as_source(live, f"mark {count}")

    play()
