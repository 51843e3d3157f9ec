"""Rows that a statement changes without naming their table, and what our user sees of that by the rights it needs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sorbus.conformance.in_memory_bus import InMemoryBus
from sorbus.errors import AuthError
from tests.mariadb import PASSWORD, Mariadb
from tests.producers.mysql.test_hard_cases import CASCADES, THINGS, Shop, run, shop, thing, until

__all__ = ["shop"]
pytestmark = pytest.mark.slow
RIGHTS = "select, replication slave, binlog monitor"
"""Those of docs/mysql.md."""
CHANGE = "update thing set count = 5"
FUNCTION = f"create function f() returns int deterministic modifies sql data begin {CHANGE}; return 1; end"
TRIGGER = "create trigger t after insert on other for each row "


def granted(tape: InMemoryBus, rights: str) -> InMemoryBus:
    """Read by a user that has these rights alone."""
    source = tape.source
    assert isinstance(source, Shop)
    user = f"{source.database[-20:]}_r"
    account = f"{user}@'127.0.0.1'"
    source.server.root(
        f"create or replace user {account} identified by '{PASSWORD}'", f"grant {rights} on *.* to {account}"
    )
    source.connection = {**source.connection, "user": user}
    return tape


def test_cascades_are_found_by_who_may_only_read(shop: Callable[..., InMemoryBus]) -> None:
    tape = granted(shop(*CASCADES), RIGHTS)
    until(tape, a=thing("a", 1), b=thing("b", 2), c=thing("c", 3))
    run(tape, "delete from parent where id = 1")
    until(tape, b=thing("b", 2), c=thing("c", 3))
    run(tape, "delete from holder where id = 2")
    until(tape, c=thing("c", 3))


def test_a_parent_that_our_user_may_not_read_is_named(shop: Callable[..., InMemoryBus]) -> None:
    tape = granted(shop(*CASCADES), RIGHTS.removeprefix("select, "))
    source = tape.source
    assert isinstance(source, Shop)
    source.server.root(f"grant select on `{source.database}`.thing to {source.connection['user']}@'127.0.0.1'")
    with pytest.raises(AuthError, match=r"may not read .*\.parent, .*GRANT SELECT ON"):
        until(tape)


def test_a_cascade_by_a_column_that_the_log_cannot_show(shop: Callable[..., InMemoryBus]) -> None:
    tape = shop(
        "create table parent (id varchar(20) character set utf16 primary key)",
        "create table thing (id varchar(40) primary key, name varchar(20) character set utf16 not null, count bigint,"
        " foreign key (name) references parent(id) on update cascade)",
        "insert into parent values ('x'), ('y')",
        "insert into thing values ('a', 'x', 1), ('b', 'y', 2)",
    )
    until(tape, a=thing("x", 1), b=thing("y", 2))
    run(tape, "update parent set id = 'z' where id = 'x'")
    until(tape, a=thing("z", 1), b=thing("y", 2))


@pytest.mark.parametrize(
    ("made", "made_later", "statement", "rights"),
    [
        (["create view seen as select * from thing"], [], "update seen set count = 5", RIGHTS),
        ([FUNCTION], [], "insert into other values (f())", RIGHTS),
        ([FUNCTION], [], "select f()", RIGHTS),
        ([], [FUNCTION], "select f()", RIGHTS),
        ([TRIGGER + CHANGE], [], "insert into other values (1)", RIGHTS),
        ([TRIGGER + CHANGE], [], "insert into other values (1)", f"{RIGHTS}, trigger"),
        (["create view seen as select * from thing"], [TRIGGER + "update seen set count = 5"],
         "insert into other values (1)", f"{RIGHTS}, trigger"),
        (["create table mid (id int)", f"create procedure p() {CHANGE}"],
         [TRIGGER + "insert into mid values (1)", "create trigger u after insert on mid for each row call p()"],
         "insert into other values (1)", f"{RIGHTS}, trigger"),
        (["create view seen as select * from thing"], ["rename table seen to shown"], "update shown set count = 5",
         RIGHTS),
        ([TRIGGER + CHANGE], ["alter table other rename to another"], "insert into another values (1)",
         f"{RIGHTS}, trigger"),
        (["create view seen as select * from thing"],
         ["create definer = `an app`@`%` sql security invoker view shown as select * from seen"],
         "update shown set count = 5", RIGHTS),
    ],
)  # fmt: skip
def test_what_a_statement_writes_through(
    shop: Callable[..., InMemoryBus], made: list[str], made_later: list[str], statement: str, rights: str
) -> None:
    tape = granted(shop(THINGS, "create table other (id int primary key)", *made), rights)
    run(tape, "insert into thing values ('a', 'a', 1)")
    until(tape, a=thing("a", 1))
    run(tape, *made_later, "set binlog_format = statement", statement)
    until(tape, a=thing("a", 5))


@pytest.mark.parametrize("right", ["trigger", "all"])
def test_a_statement_is_its_own_tables_alone_for_who_sees_their_triggers(
    shop: Callable[..., InMemoryBus], right: str
) -> None:
    tape = granted(shop(THINGS, "create table other (id int primary key)"), RIGHTS)
    source = tape.source
    assert isinstance(source, Shop)
    name = source.database.replace("_", "\\_") if right == "all" else source.database
    source.server.root(f"grant {right} on `{name}`.* to {source.connection['user']}@'127.0.0.1'")
    run(tape, "insert into thing values ('a', 'a', 1)")
    until(tape, a=thing("a", 1))
    run(tape, "set binlog_format = statement", "delete from other", "insert into other values (1)")
    run(tape, "insert into thing values ('b', 'b', 2)")
    until(tape, a=thing("a", 1), b=thing("b", 2))
    assert [id for id, _ in tape.events] == ["a", "b"], "everything was read again"


@pytest.mark.parametrize("rights", [RIGHTS, f"{RIGHTS}, trigger"])
def test_a_statement_in_another_database_is_not_ours(
    shop: Callable[..., InMemoryBus], mariadb: Callable[..., str], mariadb_server: Mariadb, rights: str
) -> None:
    tape = granted(shop(), rights)
    run(tape, "insert into thing values ('a', 'a', 1)")
    until(tape, a=thing("a", 1))
    sums = mariadb("create table sums (id int primary key)")
    mariadb_server.root("set binlog_format = statement", f"replace into {sums}.sums values (1)")
    run(tape, "insert into thing values ('b', 'b', 2)")
    until(tape, a=thing("a", 1), b=thing("b", 2))
    assert [id for id, _ in tape.events] == ["a", "b"], "everything was read again"
