"""Ids that a target's key column takes for one: no record writes, deletes or erases another one's row."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

import psycopg
import pytest

from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.consumers.postgres.shadow import PostgresShadow
from sorbus.dry_run import DryRunReads
from sorbus.errors import MustWait, TransientError
from tests.consumers.gadgets import GADGET_WITH_LINES, Writer, gadget, opened
from tests.consumers.keyed_tables import keyed_flow, values_of

UUID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"


class Case(NamedTuple):
    """A key column, and two ids that it takes for one."""

    column: str
    first: str
    second: str


CASES = {
    "citext": Case("id citext primary key", "Ab", "ab"),
    "a domain of citext": Case("id alike primary key", "Ab", "ab"),
    "a collation": Case("id text collate alone primary key", "Ab", "ab"),
    "accents": Case("id varchar(20) collate alone primary key", "café", "cafe"),
    "an index's collation": Case("id text not null); create unique index on gadgets (id collate alone", "Ab", "ab"),
    "two indexes": Case("id text primary key); create unique index on gadgets (id collate alone", "Ab", "ab"),
    "integer": Case("id integer primary key", "7", "007"),
    "integer, the other first": Case("id integer primary key", "007", "7"),
    "integer, neither as it is written": Case("id integer primary key", "007", "07"),
    "a domain of integer": Case("id number primary key", "7", "+7"),
    "bigint": Case("id bigint primary key", "7", " 7"),
    "numeric": Case("id numeric primary key", "1", "1.0"),
    "numeric, the other first": Case("id numeric primary key", "1.0", "1"),
    "numeric without places": Case("id numeric(8,0) primary key", "1", "01"),
    "numeric without places, the other first": Case("id numeric(8,0) primary key", "1.0", "1"),
    "numeric with places": Case("id numeric(8,2) primary key", "1.00", "1"),
    "a domain of numeric": Case("id price primary key", "1", "1.0"),
    "uuid": Case("id uuid primary key", UUID, UUID.upper()),
    "date": Case("id date primary key", "2026-01-02", "20260102"),
    "date, the other first": Case("id date primary key", "20260102", "2026-01-02"),
    "timestamptz": Case("id timestamptz primary key", "2026-01-02 03:00:00+00", "2026-01-02T05:00:00+02:00"),
    "timestamp": Case("id timestamp primary key", "2026-01-02 03:00:00", "2026-01-02T03:00:00.0000001"),
    "float": Case("id float8 primary key", "1", "1.0"),
    "minus zero": Case("id float8 primary key", "0", "-0"),
    "real": Case("id real primary key", "0.1", "0.10000000000001"),
    "bytea": Case("id bytea primary key", "\\x41", "A"),
    "char": Case("id char(5) primary key", "ab", "ab "),
    "char, the other first": Case("id char(5) primary key", "ab ", "ab"),
    "boolean": Case("id boolean primary key", "true", "t"),
    "inet": Case("id inet primary key", "10.0.0.1", "10.0.0.1/32"),
    "interval": Case("id interval primary key", "P1D", "24:00:00"),
    "jsonb": Case("id jsonb primary key", '{"a": 1}', '{"a":1}'),
}
CUT = {
    "varchar": Case("id varchar(2) primary key", "ab", "ab "),
    "a domain of varchar": Case("id short primary key", "abcd", "abcde"),
    "a domain of char": Case("id fixed primary key", "abcd", "abcde"),
    "numeric": Case("id numeric(8,2) primary key", "1.01", "1.005"),
    "a domain of numeric": Case("id price primary key", "1.01", "1.005"),
    "timestamp": Case("id timestamp(0) primary key", "2026-01-02 03:00:00", "2026-01-02 03:00:00.25"),
    "name": Case("id name primary key", "x" * 63, "x" * 64),
    "one byte": Case('id "char" primary key', "a", "ab"),
}
"""Ids that a key column would cut or round: the second would be kept as the first."""
PARENTS = [
    ("text", "citext", Case("", "Ab", "ab"), False),
    ("text", "integer", Case("", "7", "007"), True),
    ("text", "varchar(2)", Case("", "ab", "ab "), True),
    ("citext", "citext", Case("", "Ab", "ab"), True),
    ("integer", "integer", Case("", "7", "007"), True),
    ("integer", "text", Case("", "7", "007"), True),
]
"""Types of the record's key and of its list's parent column, ids, and whether the second record is refused."""

RESPELLED = [
    ("id integer primary key", "7", "007", "hard"),
    ("id uuid primary key", UUID, UUID.upper(), "hard"),
    ("id citext primary key, sorbus_deleted_at timestamptz", "Ab", "ab", "soft"),
]
"""Key columns, an id as the key is written, and another one for it."""


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("together", [False, True], ids=["one after another", "in one batch"])
def test_a_row_stays_with_the_record_that_has_it(
    make_database: Callable[[str], str], case: Case, *, together: bool
) -> None:
    dsn, flow = keyed_flow(make_database, case.column)
    writer, consumer = Writer(), opened(flow)
    both = [writer.delivery(case.first, 1, gadget("A")), writer.delivery(case.second, 2, gadget("B"))]
    [refused] = consumer.apply(both) if together else [*consumer.apply(both[:1]), *consumer.apply(both[1:])]
    assert refused.place == (1 if together else 0)
    assert isinstance(refused.error, MustWait)  # what frees the row may be on its way
    letter = refused.error.refused
    assert letter is not None
    assert (letter.reason, letter.field) == ("UniqueViolation", "id")
    assert all(part in str(letter) for part in (repr(case.first), repr(case.second), "gadgets.id", "name another"))
    assert values_of(dsn) == ["A"]
    consumer.close()
    consumer = opened(flow)
    assert [one.place for one in consumer.apply([writer.delivery(case.second, 3, gadget("B"))])] == [0]
    assert consumer.look(case.second) is None
    assert consumer.erase(case.second).rows == 0
    assert not consumer.erase(case.second).left
    assert consumer.apply([writer.delivery(case.second, 4, None)]) == []
    assert consumer.apply([writer.delivery(case.second, 3, gadget("late"))]) == []
    assert values_of(dsn) == ["A"]
    assert consumer.apply([writer.delivery(case.first, 5, gadget("A2"))]) == []
    assert values_of(dsn) == ["A2"]
    assert consumer.apply([writer.delivery(case.second, 7, gadget("B")), writer.delivery(case.first, 6, None)]) == []
    assert values_of(dsn) == ["B"]
    assert consumer.apply([writer.delivery(case.first, 5, gadget("late"))]) == []
    assert [one.place for one in consumer.apply([writer.delivery(case.first, 8, gadget("A"))])] == [0]
    assert consumer.apply([writer.delivery(case.second, 9, None), writer.delivery(case.first, 8, gadget("A"))]) == []
    assert values_of(dsn) == ["A"]
    assert consumer.apply([writer.delivery(case.first, 10, None)]) == []
    consumer.close()
    assert values_of(dsn) == []


def test_what_a_row_of_another_record_is_left_out_for_shifts_no_blame(make_database: Callable[[str], str]) -> None:
    """The server names the line of what it was given."""
    dsn, flow = keyed_flow(make_database, "id citext primary key")
    writer, consumer = Writer(), opened(flow)
    assert consumer.apply([writer.delivery("Ab", 1, gadget("A")), writer.delivery("ab", 5, None)]) == []
    batch = [writer.delivery("ab", 2, gadget("late"))]
    batch += [writer.delivery(id, 2, gadget(name)) for id, name in (("x", "x"), ("y", "y\0"), ("z", "z"))]
    assert [one.place for one in consumer.apply(batch)] == [2]
    consumer.close()
    assert values_of(dsn) == ["A", "x", "z"]


@pytest.mark.parametrize("case", CUT.values(), ids=CUT)
def test_an_id_that_the_key_would_cut_is_refused(make_database: Callable[[str], str], case: Case) -> None:
    """Its delete would not find the row."""
    dsn, flow = keyed_flow(make_database, case.column)
    writer, consumer = Writer(), opened(flow)
    batch = [writer.delivery(id, 1, gadget(id[:9])) for id in (case.first, case.second)]
    [refused] = consumer.apply(batch)
    consumer.close()
    assert refused.place == 1
    assert refused.error.field == "id"
    assert all(part in str(refused.error) for part in (repr(case.second), repr(case.first), "declare"))
    assert values_of(dsn) == [case.first[:9]]


@pytest.mark.parametrize(("key", "parent", "case", "is_refused"), PARENTS)
@pytest.mark.parametrize("position", ["position", None])
def test_items_stay_with_their_record(
    make_database: Callable[[str], str], key: str, parent: str, case: Case, is_refused: bool, position: str | None
) -> None:
    dsn, flow = keyed_flow(
        make_database,
        f"id {key} primary key); create table gadget_lines (parent_id {parent}, position int, sku text, quantity int",
        schema=GADGET_WITH_LINES,
        children={"lines": {"table": "gadget_lines", "position": position}},
    )
    writer, consumer = Writer(GADGET_WITH_LINES), opened(flow)
    records = [gadget(sku, lines=[{"sku": sku, "quantity": 1}]) for sku in "AB"]
    assert consumer.apply([writer.delivery(case.first, 1, records[0])]) == []
    assert bool(consumer.apply([writer.delivery(case.second, 2, records[1])])) is is_refused
    assert values_of(dsn, "gadget_lines", "sku") == ["A"] if is_refused else ["A", "B"]
    consumer.apply([writer.delivery(case.second, 3, None)])
    assert values_of(dsn, "gadget_lines", "sku") == ["A"]
    assert consumer.apply([writer.delivery(case.first, 4, gadget("A", lines=[]))]) == []
    assert values_of(dsn, "gadget_lines", "sku") == []
    consumer.close()


@pytest.mark.parametrize("key", ["integer", "numeric(8,2)"])
def test_what_was_written_before_rows_had_owners_keeps_them(make_database: Callable[[str], str], key: str) -> None:
    dsn, flow = keyed_flow(make_database, f"id {key} primary key")
    opened(flow).close()
    with psycopg.connect(dsn) as session:
        session.execute("delete from sorbus_applied")
        session.execute("insert into gadgets (id, name) values (7, 'A'), (8, 'own')")
        session.execute(
            "insert into sorbus_applied values ('public.gadgets', '007', 3), ('public.gadgets', '07', 2),"
            " ('public.gadgets', 'no key', 1), ('public.gadgets', '00009', 1)"
        )
    writer, consumer = Writer(), opened(flow)
    second = "7" if key == "integer" else "7.00"
    assert [one.place for one in consumer.apply([writer.delivery(second, 9, gadget("B"))])] == [0]
    assert consumer.apply([writer.delivery("007", 9, gadget("A2")), writer.delivery("0008", 9, gadget("C"))]) == []
    assert [one.place for one in consumer.apply([writer.delivery("8", 9, gadget("D"))])] == [0]
    consumer.close()
    assert values_of(dsn) == ["A2", "C"]


@pytest.mark.parametrize(("column", "old", "new", "deletes"), RESPELLED)
@pytest.mark.parametrize("is_newer", [True, False])
def test_of_what_was_written_before_rows_had_owners_the_last_keeps_the_row(
    make_database: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    column: str,
    old: str,
    new: str,
    deletes: str,
    is_newer: bool,
) -> None:
    """Also where a record whose id is written as the key is has been delivered, and deleted, before."""
    monkeypatch.setattr("sorbus.consumers.postgres.key_owners._CHUNK", 1)
    dsn, flow = keyed_flow(make_database, column, deletes=deletes)
    opened(flow).close()
    with psycopg.connect(dsn) as session:
        session.execute("delete from sorbus_applied")
        session.execute("insert into gadgets (id, name) values (%s, 'A')", (old,))
        for id, version in ((old, 2), (new, 3 if is_newer else 1), (f"{new}{'' if 'uuid' in column else ' '}", 1)):
            session.execute(
                "insert into sorbus_applied values ('public.gadgets', %s, %s) on conflict do nothing", (id, version)
            )
    writer, consumer = Writer(), opened(flow)
    keeps, gives_way = (new, old) if is_newer else (old, new)
    assert consumer.apply([writer.delivery(keeps, 4, gadget("B"))]) == []
    assert [one.place for one in consumer.apply([writer.delivery(gives_way, 4, gadget("C"))])] == [0]
    consumer.close()
    assert values_of(dsn) == ["B"]


@pytest.mark.parametrize(("column", "ids"), [("id uuid primary key", "upper(md5(i::text)::uuid::text)"),
                                             ("id citext primary key", "'A' || i"),
                                             ("id integer primary key", "i::text")])  # fmt: skip
def test_what_was_written_before_rows_had_owners_is_noted_a_part_at_a_time(
    make_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, column: str, ids: str
) -> None:
    """A process that takes too long to start is ended by its supervisor, and would never come to the end."""
    monkeypatch.setattr("sorbus.consumers.postgres.key_owners._CHUNK", 10)
    monkeypatch.setattr("sorbus.consumers.postgres.open_target._MOST", 0.0)
    dsn, flow = keyed_flow(make_database, column)
    key = column.split()[1]
    with psycopg.connect(dsn) as session:
        session.execute(
            f"insert into gadgets (id, name) select lower({ids})::{key}, 'A' from generate_series(1, 35) i".encode()
        )
        session.execute(
            f"insert into sorbus_applied select 'public.gadgets', {ids}, 1 from generate_series(1, 35) i".encode()
        )
        keys = [
            (str(id), str(of))
            for id, of in session.execute(f"select {ids}, lower({ids}) from generate_series(1, 35) i".encode())
        ]
    for _ in range(4):
        with pytest.raises(TransientError, match="a part at a time"):
            opened(flow)
    writer, consumer = Writer(), opened(flow)
    assert consumer.apply([writer.delivery(id, 2, gadget("B")) for id, _ in keys]) == []
    others = [writer.delivery(of, 3, gadget("C")) for id, of in keys if of != id]
    assert len(consumer.apply(others)) == len(others)
    consumer.close()
    assert values_of(dsn) == ["B"] * 35


def test_the_first_id_that_is_written_otherwise_is_seen_by_other_sessions(make_database: Callable[[str], str]) -> None:
    dsn, flow = keyed_flow(make_database, "id integer primary key")
    writer, one, other = Writer(), opened(flow), opened(flow)
    assert one.apply([writer.delivery("1", 1, gadget("A"))]) == []
    assert other.apply([writer.delivery("007", 1, gadget("B"))]) == []
    with pytest.raises(TransientError):
        one.apply([writer.delivery("7", 2, gadget("C"))])
    one.open()
    assert [refused.place for refused in one.apply([writer.delivery("7", 2, gadget("C"))])] == [0]
    one.close()
    other.close()
    assert values_of(dsn) == ["A", "B"]


def test_of_two_sessions_one_gets_the_row(make_database: Callable[[str], str]) -> None:
    dsn, flow = keyed_flow(make_database, "id citext primary key")
    writer, refused = Writer(), list[str]()

    def write(id: str, consumer: PostgresConsumer) -> None:
        batch = [writer.delivery(f"{id}{number}", 1, gadget(f"{id}{number}")) for number in range(200)]
        refused.extend(batch[one.place].id.decode() for one in consumer.apply(batch))
        consumer.close()

    threads = [threading.Thread(target=write, args=(id, opened(flow))) for id in ("K", "k")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 200
    assert sorted([*values_of(dsn), *refused]) == sorted(f"{id}{number}" for id in "Kk" for number in range(200))


@pytest.mark.parametrize("deletes", ["soft", "ignore"])
def test_a_deleted_records_row_that_stays_is_still_its_own(make_database: Callable[[str], str], deletes: str) -> None:
    dsn, flow = keyed_flow(make_database, "id citext primary key, sorbus_deleted_at timestamptz", deletes=deletes)
    writer, consumer = Writer(), opened(flow)
    assert consumer.apply([writer.delivery("Ab", 1, gadget("A"))]) == []
    assert consumer.apply([writer.delivery("ab", 2, None), writer.delivery("Ab", 3, None)]) == []
    assert [one.place for one in consumer.apply([writer.delivery("ab", 4, gadget("B"))])] == [0]
    consumer.close()
    assert values_of(dsn) == ["A"]


def test_a_dry_run_says_it_and_notes_nothing(make_database: Callable[[str], str]) -> None:
    dsn, flow = keyed_flow(make_database, "id citext primary key")
    writer, consumer = Writer(), PostgresConsumer(flow)
    consumer.begin_dry_run(DryRunReads())
    found = consumer.preview_all([
        writer.delivery("Ab", 1, gadget("A")), writer.delivery("ab", 2, gadget("B")), writer.delivery("AB", 3, None),
    ])  # fmt: skip
    consumer.close()
    assert [one.action for one in found] == ["create", "wait", "nothing"]
    assert "'ab' for 'Ab'" in found[1].why
    assert values_of(dsn, "sorbus_applied", "id") == []
    consumer = opened(flow)
    assert consumer.apply([writer.delivery("Ab", 1, gadget("A"))]) == []
    assert consumer.preview(writer.delivery("ab", 2, gadget("B"))).action == "refuse"
    assert consumer.preview(writer.delivery("ab", 2, None)).action == "nothing"
    consumer.close()


def test_a_replay_into_a_shadow_leaves_the_row_of_another_record(make_database: Callable[[str], str]) -> None:
    dsn, flow = keyed_flow(make_database, "id citext primary key")
    writer, consumer = Writer(), opened(flow)
    assert consumer.apply([writer.delivery("Ab", 1, gadget("A"))]) == []
    consumer.close()
    shadow = PostgresShadow(flow)
    shadow.prepare(keep=False)
    other = PostgresConsumer.shadow_consumer(flow)
    other.open()
    assert other.apply([writer.delivery("ab", 2, gadget("B"))], again=True, alone=True) == []
    other.close()
    shadow.compare()
    applied = shadow.apply(without=[], remove_extra=False)
    shadow.drop()
    shadow.close()
    assert applied.refused == ["ab"]
    assert values_of(dsn) == ["A"]
