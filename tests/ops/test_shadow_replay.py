"""A shadow replay: the live table becomes what the topic says, in one change, while it is read and written."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest

from sorbus.ops.replay.job import ReplayJobs
from sorbus.state.database import migrate
from tests.consumers.gadgets import make_tables
from tests.consumers.line import FLOW, RESTRICTED, Line, named
from tests.consumers.plugin import MakeLine, make_line

__all__ = ["make_line"]
CONTENT = (
    "select g.id, g.name, g.sorbus_version, (select array_agg((l.position, l.sku)::text order by l.position)"
    " from gadget_lines l where l.parent_id = g.id) from gadgets g order by 1"
)


@pytest.fixture
def line(make_line: MakeLine) -> Line:
    """A flow with Sorbus's own database."""
    made = make_line()
    migrate(made.state)
    return made


def test_a_damaged_table_becomes_what_the_topic_says_and_keeps_all_that_hangs_on_it(line: Line) -> None:
    line.publish((f"g{n}", 1, named(f"n{n}", "a", "b")) for n in range(300))
    line.publish([("gone", 1, named("gone", "x")), ("gone", 2, None)])
    line.publish([("g7", 2, named("seven", "c"))])
    with line.consuming():
        line.until({f"g{n}": "seven" if n == 7 else f"n{n}" for n in range(300)})
    expected = line.connection.execute(CONTENT).fetchall()
    line.execute(
        "create role {0}; create view v_{0} as select name from gadgets; create materialized view m_{0} as"
        " select id from gadgets; grant select on gadgets to {0}; create index named_{0} on gadgets (name);"
        " comment on table gadgets is 'ours'; create table refers_{0} (id text references gadgets (id));"
        " insert into refers_{0} values ('g1'); alter table gadgets enable row level security;"
        " alter table gadgets alter column name set statistics 77; alter table gadgets set (fillfactor = 80);"
        " create statistics s_{0} on id, name from gadgets; alter table gadgets replica identity full;"
        " create publication p_{0} for table gadgets".format(line.names.prefix.strip("."))
    )
    catalog = _catalog(line)
    line.execute("update gadgets set name = 'wrong' where id < 'g2'")
    line.execute("delete from gadgets where id in ('g30', 'g31')")
    line.execute("update gadgets set sorbus_version = 0, name = 'old' where id = 'g7'")
    line.execute("delete from gadget_lines where parent_id = 'g50' and position = 1")
    line.execute("insert into gadgets (id, name, sorbus_version) values ('gone', 'back', 1), ('foreign', 'x', 1)")
    told = json.loads(line.sorbus("replay", FLOW, "--shadow", "--json", status=1))
    assert (told["missing"], told["deleted"], told["extra"], told["equal"]) == (2, 1, 1, True)
    line.execute("delete from gadgets where id = 'foreign'")
    assert line.connection.execute(CONTENT).fetchall() == expected
    assert _catalog(line) == catalog
    assert _shadows(line) == []


def test_rows_unknown_to_the_topic_are_kept_unless_they_are_to_go(line: Line) -> None:
    line.publish([("g1", 1, named("one"))])
    line.sorbus("replay", FLOW)
    line.execute("insert into gadgets (id, name, sorbus_version) values ('own', 'own', 1)")
    assert "1 rows are unknown to the topic and were kept" in line.sorbus("replay", FLOW, "--shadow", status=1)
    assert line.rows() == {"g1": "one", "own": "own"}
    line.sorbus("replay", FLOW, "--shadow", "--remove-extra")
    assert line.rows() == {"g1": "one"}


def test_what_left_the_flow_and_is_to_be_kept_is_no_row_unknown_to_the_topic(line: Line) -> None:
    path = line.folder / "map.yaml"
    path.write_text(f"""{path.read_text()}    where: 'name != "out"'\n    on_leave: keep\n""")
    line.publish([("left", 1, named("in")), ("back", 1, named("in")), ("stays", 1, named("in"))])
    line.sorbus("replay", FLOW)
    line.publish([("left", 2, named("out")), ("back", 2, named("out")), ("back", 3, named("again"))])
    line.sorbus("replay", FLOW)
    line.execute("insert into gadgets (id, name, sorbus_version) values ('own', 'own', 1)")
    told = json.loads(line.sorbus("replay", FLOW, "--shadow", "--json", status=1))
    assert (told["extra"], told["missing"], told["different"]) == (1, 0, 0)
    line.sorbus("replay", FLOW, "--shadow", "--remove-extra")
    assert line.rows() == {"left": "in", "back": "again", "stays": "in"}


def test_what_the_target_refuses_is_a_dead_letter_and_the_rest_is_applied(line: Line) -> None:
    line.execute(RESTRICTED)
    line.execute("create table forbidden (id text primary key); insert into forbidden values ('g2')")
    line.execute(
        "create function no_g2() returns trigger language plpgsql as $$ begin if new.id = 'g2' then"
        " raise 'g2 is forbidden' using errcode = '23514'; end if; return new; end $$;"
        "create trigger no_g2 before insert on gadgets for each row execute function no_g2()"
    )
    line.publish([("g1", 1, named("a name that is too long for it")), ("g2", 1, named("two")), ("g3", 1, named("3"))])
    told = json.loads(line.sorbus("replay", FLOW, "--shadow", "--json", status=1).splitlines()[-1])
    assert told["refused"] == 2
    assert line.rows() == {"g3": "3"}
    assert sorted(letter.record_id for letter in line.letters()) == [b"g1", b"g2"]


def test_readers_are_not_blocked_and_the_flows_writes_arrive_meanwhile(line: Line) -> None:
    line.publish((f"g{n}", 1, named(f"n{n}", "a")) for n in range(5000))
    with line.consuming():
        line.until({f"g{n}": f"n{n}" for n in range(5000)})
        line.execute("update gadgets set name = 'wrong'; delete from gadget_lines")
        stop = threading.Event()
        writer = threading.Thread(target=_write, args=(line, stop))
        with _reading(line) as waits:
            writer.start()
            told = json.loads(line.sorbus("replay", FLOW, "--shadow", "--json"))
            stop.set()
            writer.join(20)
        assert told["equal"]
        assert told["changed"] >= 4000
        line.until({f"g{n}": _last(n) for n in range(5000)})
    assert line.connection.execute("select count(*) from gadget_lines").fetchone() == (5000,)
    assert max(waits) < 1.0  # a busy machine's own pauses; a lock would make it as long as the transaction


def test_soft_deletes_keep_their_rows(make_line: MakeLine) -> None:
    line = make_line()
    migrate(line.state)
    map_file = line.folder / "map.yaml"
    map_file.write_text(map_file.read_text() + "    deletes: soft\n")
    line.flow = replace(line.flow, flow=line.flow.flow.model_copy(update={"deletes": "soft"}))
    make_tables(line.flow)
    line.publish([(f"g{n}", 1, named(f"n{n}", "a")) for n in range(9)])
    line.publish([(f"g{n}", 2, None) for n in range(3)])
    line.sorbus("replay", FLOW)
    kept = "select id, name, sorbus_deleted_at is not null, sorbus_version from gadgets order by id"
    expected = line.connection.execute(kept).fetchall()
    assert sum(bool(row[2]) for row in expected) == 3
    line.execute("update gadgets set sorbus_deleted_at = null where id = 'g1'; delete from gadgets where id in ('g2')")
    line.execute("update gadgets set sorbus_deleted_at = now() where id = 'g5'")
    assert json.loads(line.sorbus("replay", FLOW, "--shadow", "--json"))["equal"]
    assert line.connection.execute(kept).fetchall() == expected


def test_a_part_of_a_table_has_no_shadow_and_a_cancelled_one_is_removed(line: Line) -> None:
    line.publish([("g1", 1, named("one"))])
    assert "whole table" in line.sorbus("replay", FLOW, "--shadow", "--id", "g1", status=2)
    assert "Readers are not blocked" in line.sorbus("replay", FLOW, "--shadow", "--dry-run")
    assert _shadows(line) == []
    request = {
        "since": None,
        "offsets": {},
        "ids": None,
        "where": "",
        "cause": "",
        "shadow": True,
        "remove_extra": False,
    }
    with pytest.raises(KeyboardInterrupt):
        _interrupt(line, request)
    assert "nothing was changed" in line.sorbus("replay", FLOW, "--cancel")
    assert _shadows(line) == []


def _interrupt(line: Line, request: dict[str, object]) -> None:
    with ReplayJobs(line.state).running(FLOW, request, "ada"):
        line.execute("create table sorbus_shadow_gadgets (like gadgets including all)")
        raise KeyboardInterrupt


def _last(number: int) -> str:
    return f"new{number}" if number < 500 else f"n{number}"


def _write(line: Line, stop: threading.Event) -> None:
    for number in range(500):
        line.publish([(f"g{number}", 2, named(f"new{number}", "b"))])
        if stop.wait(0.002):
            line.publish((f"g{n}", 2, named(f"new{n}", "b")) for n in range(number + 1, 500))
            return


@contextmanager
def _reading(line: Line) -> Iterator[list[float]]:
    """Reads the table in a loop; how long each read took, in seconds."""
    waits: list[float] = []
    stop = threading.Event()

    def read() -> None:
        with psycopg.connect(line.dsn, autocommit=True) as reader:
            while not stop.is_set():
                began = time.monotonic()
                reader.execute("select name from gadgets where id = 'g1'").fetchone()
                waits.append(time.monotonic() - began)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield waits
    finally:
        stop.set()
        thread.join(10)


def _catalog(line: Line) -> list[tuple[object, ...]]:
    """Everything that hangs on the table, by oid: the same objects, not copies."""
    return line.connection.execute(
        "select 'table', oid::text, relacl::text, relowner::text, relrowsecurity::text, relreplident::text,"
        " reloptions::text from pg_class where relname in ('gadgets', 'gadget_lines')"
        " union all select 'index', indexrelid::text, indrelid::text, '', '', '', '' from pg_index"
        " where indrelid in ('gadgets'::regclass, 'gadget_lines'::regclass)"
        " union all select 'constraint', oid::text, conname, conrelid::text, confrelid::text, '', '' from pg_constraint"
        " where conrelid in ('gadgets'::regclass, 'gadget_lines'::regclass) or confrelid = 'gadgets'::regclass"
        " union all select 'depends', objid::text, refobjid::text, classid::text, '', '', '' from pg_depend"
        " where refobjid = 'gadgets'::regclass"
        " union all select 'statistics', attname, attstattarget::text, '', '', '', '' from pg_attribute"
        " where attrelid = 'gadgets'::regclass"
        " union all select 'comment', description, '', '', '', '', '' from pg_description"
        " where objoid = 'gadgets'::regclass order by 1, 2, 3, 4"
    ).fetchall()


def _shadows(line: Line) -> list[tuple[object, ...]]:
    found = "select relname from pg_class where relname like 'sorbus_shadow%' and relkind = 'r'"
    found += " and relpersistence <> 't'"  # a session that is ending takes its own with it
    left = "select relation from sorbus_applied where relation like '%sorbus_shadow%'"
    return [*line.connection.execute(found).fetchall(), *line.connection.execute(left).fetchall()]
