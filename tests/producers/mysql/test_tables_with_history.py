"""Tables that keep their rows' history (MariaDB's system versioning): the log has the rows of the past, too."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sorbus.conformance.in_memory_bus import InMemoryBus
from sorbus.mysql.declaration import ForeignKey, declaration_of
from tests.producers.mysql.test_hard_cases import CASCADES, run, shop, thing, until

__all__ = ["shop"]
pytestmark = pytest.mark.slow
THING = (
    "create table thing (id varchar(40) primary key, name varchar(100) not null, count bigint{}) with system versioning"
)
OWN_COLUMNS = (
    ", since {0} generated always as row start, `up to` {0} generated always as row end,"
    " period for system_time (since, `up to`)"
)
TABLES = {
    "unseen columns": THING.format(""),
    "moments": THING.format(OWN_COLUMNS.format("timestamp(6)")),
    "transactions": THING.format(OWN_COLUMNS.format("bigint unsigned")),
    "partitions": THING.format("") + " partition by system_time (partition h history, partition c current)",
    "one column alone": THING.format("").replace("not null", "not null without system versioning"),
}


@pytest.mark.parametrize("image", ["full", "minimal", "noblob"])
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_rows_of_the_past_are_no_changes(shop: Callable[..., InMemoryBus], table: str, image: str) -> None:
    tape, set_image = shop(table), f"set binlog_row_image = {image}"
    into = "into thing (id, name, count) values"
    run(tape, f"insert {into} ('a', 'a', 1), ('b', 'b', 2)")
    until(tape, a=thing("a", 1), b=thing("b", 2))
    run(tape, set_image, "update thing set count = 5 where id = 'a'", "delete from thing where id = 'b'")
    until(tape, a=thing("a", 5))
    run(
        tape, set_image, f"insert {into} ('b', 'x', 9)", "update thing set id = 'c' where id = 'a'",
        f"replace {into} ('b', 'y', 10)",
    )  # fmt: skip
    until(tape, b=thing("y", 10), c=thing("a", 5))
    run(tape, set_image, "delete history from thing", f"insert {into} ('d', 'x', 9)")
    until(tape, b=thing("y", 10), c=thing("a", 5), d=thing("x", 9))


def test_a_table_that_keeps_its_history_for_a_while(shop: Callable[..., InMemoryBus]) -> None:
    tape = shop(THING.format("").removesuffix(" with system versioning"))
    run(tape, "insert into thing values ('a', 'a', 1), ('b', 'b', 2)")
    until(tape, a=thing("a", 1), b=thing("b", 2))
    begins = "alter table thing add system versioning"
    run(tape, begins, "update thing set count = 5 where id = 'a'", "delete from thing where id = 'b'")
    until(tape, a=thing("a", 5))
    run(
        tape, "update thing set count = 6 where id = 'a'", "insert into thing values ('c', 'c', 3)",
        "delete from thing where id = 'c'", "alter table thing drop system versioning",
    )  # fmt: skip
    until(tape, a=thing("a", 6))


def test_a_parent_that_keeps_its_history(shop: Callable[..., InMemoryBus]) -> None:
    tape = shop(*(one + " with system versioning" * ("table parent" in one) for one in CASCADES))
    until(tape, a=thing("a", 1), b=thing("b", 2), c=thing("c", 3))
    run(tape, "delete from parent where id = 1")
    until(tape, b=thing("b", 2), c=thing("c", 3))


DECLARED = """CREATE TABLE `child` (
  `id` int(11) NOT NULL COMMENT 'x\\n  CONSTRAINT `a` FOREIGN KEY (`b`) REFERENCES `c` (`d`) ON DELETE CASCADE',
  `p``p` int(11) DEFAULT NULL,
  `up to` timestamp(6) GENERATED ALWAYS AS ROW END,
  PRIMARY KEY (`id`,`up to`),
  CONSTRAINT `one` FOREIGN KEY (`p``p`, `id`) REFERENCES `o, (`.`p``q` (`a`, `b`) ON UPDATE SET NULL,
  CONSTRAINT `tw``o` FOREIGN KEY (`id`) REFERENCES `parent` (`id`) ON DELETE CASCADE,
  CONSTRAINT `three` FOREIGN KEY (`id`) REFERENCES `parent` (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 WITH SYSTEM VERSIONING"""


def test_what_a_declaration_says() -> None:
    found = declaration_of(DECLARED, "s")
    assert found.row_end == "up to"
    assert found.foreign_keys == (
        ForeignKey(("o, (", "p`q"), ("p`p", "id"), ("a", "b"), on_delete=False, on_update=True),
        ForeignKey(("s", "parent"), ("id",), ("id",), on_delete=True, on_update=False),
        ForeignKey(("s", "parent"), ("id",), ("id",), on_delete=False, on_update=False),
    )
    assert declaration_of(DECLARED.replace("GENERATED", ""), "s").row_end == "row_end"
    said = "CREATE TABLE `t` (\n  `a` text COMMENT ') WITH SYSTEM VERSIONING'\n) ENGINE=InnoDB"
    assert declaration_of(said, "s") == ((), None)
