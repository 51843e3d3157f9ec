"""Whatever comes in whatever order to a MySQL server and its producer, each event is once on its topic.

The walk of PostgreSQL's (tests/producers/test_any_order.py), with what is MySQL's own: lists read by key, cascades, XA,
ALTER TABLE, row images, a log that is purged or begun anew.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import pymysql
import pytest

from sorbus.producers import event_writer, own_topics
from sorbus.producers.mysql import collect, producer, snapshot
from sorbus.schema import AvroType
from tests.producers.fate import Fate, fated
from tests.producers.mysql.mysql_shop import MysqlShop
from tests.producers.mysql.test_hard_cases import end_dumps
from tests.producers.shop import Record
from tests.producers.test_any_order import TABLES, Walk, agree

FIELDS: list[AvroType] = [{"name": "name", "type": "string"}, {"name": "size", "type": "int"}]
LINE: AvroType = {"type": "record", "name": "order_line", "fields": [{"name": "text", "type": "string"}]}
WITH_LINES: list[AvroType] = [*FIELDS, {"name": "lines", "type": {"type": "array", "items": LINE}}]


class MysqlWalk(Walk):
    """Its acts in MySQL's words."""

    def __init__(self, shop: MysqlShop, seed: int, fate: Fate) -> None:
        super().__init__(shop, seed, fate)
        self.mysql = shop
        self.held: pymysql.connections.Connection | None = None
        self.prepared: list[str] = []
        self.system |= {"kind": "mysql", "connection": shop.server.connection(shop.database)}

    def describe(self) -> None:
        lines = {"lines": {"table": "order_lines", "parent": ["order_id"], "order": ["n"]}}
        data_types: Mapping[str, tuple[Sequence[AvroType], Mapping[str, object]]] = {
            name[:-1]: (WITH_LINES, {"table": name, "children": lines})
            if name == "orders"
            else (FIELDS, {"table": name})
            for name in self.mapped
        }
        sheet = self._sheet()
        if "orders" in self.mapped:
            sheet.append(("order_lines.text", "order.lines[].text", ""))
        self.shop.describe(data_types, self.system, sheet)
        self.shop.apply()

    def acts(self) -> list[tuple[float, Callable[[], str]]]:
        own: tuple[Callable[[], str], ...] = (self.unpublish, self.lose_slot)
        return [one for one in super().acts() if one[1] not in own] + [
            (1, self.xa),
            (0.7, self.rows_formats),
            (0.5, self.purge),
            (0.3, self.begin_log_anew),
            (0.7, self.cascade),
            (1, self.change_lines),
        ]

    def large(self) -> str:
        table = self.chance.choice(TABLES)
        self.shop.execute(
            f"insert into {table} (id, name, size) select seq, 'many', '1' from seq_1000_to_1700"
            f" on duplicate key update name = concat({table}.name, '.')"
        )
        return f"many rows of {table}"

    def transaction(self) -> str:
        count = self.chance.choice((2, 5, 30))
        self.shop.execute("begin", *(self._statement() for _ in range(count)), "commit")
        return f"a transaction of {count} changes"

    def rolled_back(self) -> str:
        self.shop.execute("begin", self._statement(), "savepoint s", self._statement(), "rollback to s", "rollback")
        return "a transaction rolled back"

    def hold(self) -> str:
        """A transaction stays open."""
        if self.held is not None:
            self.held.commit()
            self.held.close()
            self.held = None
            return "the open transaction ended"
        self.held = self.mysql.server.connect(self.mysql.database, autocommit=False)
        with self.held.cursor() as cursor:
            cursor.execute("insert into held () values ()")
            id = self.chance.randrange(3000, 3100)
            table = self.chance.choice(TABLES)
            cursor.execute(f"insert ignore into {table} (id, name, size) values ({id}, 'held', '1')")
        return f"a transaction left open, with {id} of {table}"

    def truncate(self) -> str:
        table = self.chance.choice(TABLES)
        if table == "things" or self.held is not None or self.prepared:  # referred to, or it would wait
            return "nothing truncated"
        self.shop.execute(f"truncate {table}")
        return f"{table} truncated"

    def rewrite(self) -> str:
        if self.held is not None or self.prepared:
            return "nothing altered"  # it would wait for the open transaction
        table = self.chance.choice(TABLES)
        statement = self.chance.choice(
            (
                f"alter table {table} modify name varchar(200)",
                f"alter table {table} modify name text",
                f"alter table {table} add column if not exists more varchar(9) default 'x' first",
                f"alter table {table} drop column if exists more",
                f"alter table {table} engine = InnoDB",
                f"alter table {table} add index if not exists by_name (name(9))",
            )
        )
        self.shop.execute(statement)
        return statement

    def xa(self) -> str:
        """A transaction in two phases, which may stay between them for a while."""
        if self.prepared:
            name = self.prepared.pop()
            how = self.chance.choice(("commit", "rollback"))
            self.shop.execute(f"xa {how} '{name}'")
            return f"xa {how}"
        name = f"{self.mysql.database}-{len(self.done)}"
        id = self.chance.randrange(4000, 4100)
        table = self.chance.choice(TABLES)
        self.shop.execute(
            f"xa start '{name}'",
            f"insert into {table} (id, name, size) values ({id}, 'xa', '1') on duplicate key update size = '2'",
            f"xa end '{name}'",
            f"xa prepare '{name}'",
        )
        self.prepared.append(name)
        return f"xa prepared, with {id} of {table}"

    def rows_formats(self) -> str:
        """A session that doesn't write whole rows, or statements in place of rows."""
        how = self.chance.choice(
            ("binlog_row_image = minimal", "binlog_row_image = noblob", "binlog_format = statement")
        )
        levels = []
        if "statement" in how:  # which needs gaps locked: others would wait for what is held open
            if self.held is not None or self.prepared:
                return "no statements logged"
            levels = ["set session transaction isolation level repeatable read"]
        self.shop.execute(*levels, f"set session {how}", *(self._statement() for _ in range(3)))
        return f"changes with {how}"

    def purge(self) -> str:
        """The log behind us is gone."""
        self.stop()
        server = self.mysql.server
        server.root("flush binary logs", "flush binary logs")
        self.change()
        end_dumps(server)
        [*_, (newest, *_)] = server.root("show binary logs")
        deadline = time.monotonic() + 20
        while not self.prepared and len(server.root("show binary logs")) > 1:
            assert time.monotonic() < deadline, "the server keeps its log"
            server.root(f"purge binary logs to '{newest}'")
            time.sleep(0.05)
        return "the log is purged"

    def begin_log_anew(self) -> str:
        if self.prepared:
            return "nothing reset"
        self.stop()
        end_dumps(self.mysql.server)
        self.mysql.server.root("reset master")
        self.change()
        return "the log is begun anew"

    def cascade(self) -> str:
        holder = self.chance.randrange(1, 4)
        if self.held is not None or self.prepared:
            return "no cascade"
        self.shop.execute(f"delete from holders where id = {holder}", f"insert into holders values ({holder})")
        return f"what {holder} held is gone with it"

    def change_lines(self) -> str:
        id, n = self.chance.randrange(1, 40), self.chance.randrange(3)
        self.shop.execute(
            self.chance.choice(
                (
                    f"replace into order_lines values ({id}, {n}, 'l{self.chance.randrange(1000)}')",
                    f"delete from order_lines where order_id = {id}",
                    f"update order_lines set order_id = {id} where n = {n} limit 1",
                )
            ).replace("update", "update ignore")
        )
        return f"lines of {id} change"

    def end(self) -> None:
        self.stop()
        if self.held is not None:
            self.hold()
        while self.prepared:
            self.xa()
        super().end()

    def expected(self, table: str) -> dict[str, Record]:
        rows = self.shop.rows(f"select id, name, cast(size as signed) from {table} where size <> 'none'")
        found: dict[str, Record] = {str(id): {"name": name, "size": size} for id, name, size in rows}
        if table == "orders":
            for record in found.values():
                record["lines"] = []
            for id, text in self.shop.rows("select order_id, text from order_lines order by order_id, n"):
                if (one := found.get(str(id))) is not None:
                    one["lines"].append({"text": text})  # type: ignore[attr-defined]
        return found

    def _statement(self) -> str:
        table, id, other = self.chance.choice(TABLES), self.chance.randrange(1, 40), self.chance.randrange(1, 40)
        what = self.chance.random()
        if what < 0.5:
            size = self.chance.choice((str(self.chance.randrange(100)), *["1"] * 9, "none"))
            columns, values = "id, name, size", f"{id}, 'n{self.chance.randrange(10**6)}', '{size}'"
            if table == "things":
                columns, values = f"{columns}, holder", f"{values}, {self.chance.choice(('null', 1, 2, 3))}"
            return (
                f"insert into {table} ({columns}) values ({values})"
                " on duplicate key update name = values(name), size = values(size)"
            )
        if what < 0.7:
            return f"update {table} set name = concat(name, '.') where id between {id} and {id + 3}"
        if what < 0.9:
            return f"delete from {table} where id = {id}"
        return f"update ignore {table} set id = {other} where id = {id}"


TABLE = "create table {} (id int primary key, name text, size varchar(9){})"
SCRIPT = (
    "create table held (id int auto_increment primary key)",
    "create table holders (id int primary key)",
    "insert into holders values (1), (2), (3)",
    TABLE.format("items", ""),
    TABLE.format("things", ", holder int, foreign key (holder) references holders(id) on delete cascade"),
    TABLE.format("orders", ""),
    "create table order_lines (order_id int, n int, text varchar(20), primary key (order_id, n))",
)


@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 43))])
def test_in_any_order_each_event_of_mysql_is_once_on_its_topic(
    make_mysql_shop: Callable[..., MysqlShop], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    shop, chance = make_mysql_shop(*SCRIPT), random.Random(seed)
    monkeypatch.setattr(own_topics, "_COMPARE_EVERY", chance.choice((0.2, 1.0, 10.0)))
    monkeypatch.setattr(event_writer, "_STORE_AFTER", chance.choice((0.0, 0.3, 1.0, 1.0)))
    monkeypatch.setattr(producer, "_SETTLE", chance.choice((0.1, 0.5)))
    monkeypatch.setattr(producer, "_MOVE_ON", chance.choice((0.1, 5.0)))
    monkeypatch.setattr(snapshot, "_PAGE", chance.choice((10, 100, 2000)))
    monkeypatch.setattr(collect, "MAX_CHANGES", chance.choice((20, 5000)))
    fate = Fate(chance)
    with fated(fate, monkeypatch):
        walk = MysqlWalk(shop, seed, fate)
        walk.describe()
        try:
            for _ in range(30):
                walk.act()
            walk.end()
            with shop.producing():
                for table in TABLES:
                    agree(walk, table)
        finally:
            if walk.held is not None:
                walk.held.close()
            for name in walk.prepared:
                with suppress(pymysql.Error):
                    shop.execute(f"xa rollback '{name}'")
