"""What a failed write is about: every code of PostgreSQL's table is decided, and each is tried with a real trigger."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import errors

from sorbus.connector import Delivery, RejectedDelivery
from sorbus.errors import AuthError, MustWait, SorbusError, TransientError, Undecided
from sorbus.postgres.sqlstate import about, is_decided
from sorbus.write_fault import About
from tests.consumers.gadgets import Writer, flow_into, gadget, make_tables, opened

STATES = sorted(
    {
        found.sqlstate
        for found in vars(errors).values()
        if isinstance(found, type) and issubclass(found, psycopg.Error) and found.sqlstate
    }
)
TABLE = "create table gadgets (id text primary key, name text, price numeric, note text, made_on date);"
RAISING = """
create function refuse() returns trigger language plpgsql as $$
begin
  if new.name like 'bad%' then raise 'not this one' using errcode = new.note; end if;
  return new;
end $$;
create trigger refuse before insert or update on gadgets for each row execute function refuse();
"""


class Trial:
    """A target whose trigger raises what a record asks for."""

    def __init__(self, dsn: str) -> None:
        self.connection = psycopg.connect(dsn, autocommit=True)
        self.flow = flow_into(dsn, existing=True)
        make_tables(self.flow)
        self.consumer, self.writer = opened(self.flow), Writer()

    def delivery(self, name: str, state: str = "") -> Delivery:
        return self.writer.delivery(name, 1, gadget(name, note=state))

    def apply(self, *deliveries: Delivery) -> list[RejectedDelivery]:
        try:
            return self.consumer.apply(deliveries)
        except SorbusError:
            self.consumer.close()
            self.consumer.open()
            raise

    def taken(self) -> list[str]:
        """What has landed since it was last asked, which is forgotten then."""
        rows = self.connection.execute("delete from gadgets returning name").fetchall()
        self.connection.execute("delete from sorbus_applied")
        return sorted(str(name) for (name,) in rows)


@pytest.fixture
def trial(make_database: Callable[[str], str]) -> Iterator[Trial]:
    made = Trial(make_database(TABLE + RAISING))
    yield made
    made.consumer.close()
    made.connection.close()


def test_every_code_of_the_catalog_is_decided() -> None:
    assert len(STATES) > 240
    assert [state for state in STATES if not is_decided(state)] == []


@pytest.mark.parametrize(
    ("state", "meant"),
    [
        ("22001", About.RECORD), ("23502", About.RECORD), ("23514", About.RECORD), ("44000", About.RECORD),
        ("54000", About.RECORD), ("P0001", About.RECORD), ("23503", About.REFERENCE), ("23001", About.REFERENCE),
        ("23505", About.COLLISION), ("23P01", About.COLLISION), ("57014", About.LOAD), ("55P03", About.LOAD),
        ("25P03", About.LOAD), ("25P04", About.LOAD), ("53200", About.LOAD), ("53400", About.LOAD),
        ("42501", About.EITHER), ("428C9", About.EITHER), ("42P01", About.EITHER), ("0A000", About.EITHER),
        ("XX000", About.EITHER), ("40001", About.SYSTEM), ("40P01", About.SYSTEM), ("25006", About.SYSTEM),
        ("53100", About.SYSTEM), ("53300", About.SYSTEM), ("57P01", About.SYSTEM), ("57P03", About.SYSTEM),
        ("08006", About.SYSTEM), ("28P01", About.ACCESS), ("3D000", About.ACCESS),
    ],
)  # fmt: skip
def test_what_the_codes_that_matter_are_about(state: str, meant: About) -> None:
    assert about(state) is meant


def test_one_record_that_fails_with_any_code_at_all_does_not_hold_its_neighbours_up(trial: Trial) -> None:
    for state in STATES:
        if state[:2] in ("00", "01", "02", "03"):
            continue
        batch = [trial.delivery("a"), trial.delivery("b"), trial.delivery("bad", state), trial.delivery("c")]
        if about(state) is About.SYSTEM:
            with pytest.raises(TransientError, match="not this one"):
                trial.apply(*batch)
            assert "bad" not in trial.taken(), state
            continue
        (refusal,) = trial.apply(*batch)
        assert refusal.place == 2, state
        assert "not this one" in str(refusal.error), state
        waits = about(state) in (About.REFERENCE, About.COLLISION, About.LOAD)
        assert isinstance(refusal.error, MustWait) is waits, state
        assert trial.taken() == ["a", "b", "c"], state


def test_when_every_record_fails_with_a_cause_that_may_be_the_systems_the_flow_waits_and_none_is_refused(
    trial: Trial,
) -> None:
    for state in STATES:
        if about(state) is not About.EITHER or state[:2] in ("00", "01", "02", "03") or state == "42501":
            continue
        with pytest.raises(TransientError, match="not this one"):
            trial.apply(*(trial.delivery(f"bad{n}", state) for n in range(9)))
        assert trial.taken() == []


def test_a_record_that_comes_alone_is_judged_by_one_that_landed_before_or_waits_for_others(trial: Trial) -> None:
    bad = trial.delivery("bad", "42P01")
    with pytest.raises(Undecided, match="the only record so far"):
        trial.apply(bad)
    (refusal,) = trial.apply(bad, trial.delivery("good"))
    assert refusal.place == 0
    (refusal,) = trial.apply(bad)
    assert refusal.error.reason == "UndefinedTable"
    trial.connection.execute("alter table gadgets rename column name to label")
    with pytest.raises(TransientError, match="no column name"):
        trial.apply(trial.delivery("bad", "42703"))


def test_thousands_of_bad_records_among_good_ones_are_all_found(trial: Trial) -> None:
    batch = [trial.delivery(f"bad{n}" if n % 7 == 0 or n < 40 else f"good{n}", "42883") for n in range(400)]
    refusals = trial.apply(*batch)
    bad = [place for place, one in enumerate(batch) if one.id.startswith(b"bad")]
    assert sorted(refusal.place for refusal in refusals) == bad
    assert len(trial.taken()) == 400 - len(bad)


def test_a_policy_refuses_its_rows_and_a_grant_that_is_missing_refuses_all(make_database: Callable[[str], str]) -> None:
    dsn = make_database(TABLE)
    with psycopg.connect(dsn, autocommit=True) as owner:
        name = f"writer_{owner.info.dbname}"
        owner.execute(f"create role {name} login password 'w'; grant all on schema public to {name}")
        owner.execute(f"grant all on gadgets to {name}; alter table gadgets enable row level security")
        owner.execute("create policy p on gadgets using (note = 'ours') with check (note = 'ours')")
        host, port = owner.info.host, owner.info.port
        flow = flow_into(f"postgresql://{name}:w@{host}:{port}/{owner.info.dbname}", existing=True)
        make_tables(flow)
        consumer, writer = opened(flow), Writer()
        batch = [writer.delivery(f"g{n}", 1, gadget("x", note="theirs" if n == 3 else "ours")) for n in range(6)]
        (refusal,) = consumer.apply(batch)
        assert refusal.place == 3
        assert "row-level security policy" in str(refusal.error)
        (refusal,) = consumer.apply([writer.delivery("g9", 1, gadget("x", note="theirs"))])
        owner.execute(f"revoke insert on gadgets from {name}")
        with pytest.raises(AuthError, match="grant our role"):
            consumer.apply(batch)
        consumer.close()
        with pytest.raises(AuthError, match="grant our role"):
            consumer.open()
        owner.execute(f"drop owned by {name}; drop role {name}")


SLOW = """
create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.01); return new; end $$;
create trigger slow before insert or update on gadgets for each row execute function slow();
"""


@pytest.mark.parametrize("limit", ["statement_timeout", "transaction_timeout", "idle_in_transaction_session_timeout"])
def test_a_batch_that_is_too_much_for_a_time_limit_is_made_smaller(
    make_database: Callable[[str], str], limit: str
) -> None:
    dsn = make_database(TABLE + SLOW)
    with psycopg.connect(dsn, autocommit=True) as owner:
        if not owner.execute("select 1 from pg_settings where name = %s", (limit,)).fetchone():
            pytest.skip(f"this server has no {limit}")
        flow = flow_into(dsn, existing=True)
        make_tables(flow)
        owner.execute(f"alter database {owner.info.dbname} set {limit} = '600ms'")
        consumer, writer = opened(flow), Writer()
        left = [writer.delivery(f"g{n}", 1, gadget("x")) for n in range(150)]
        most, tries = len(left), 0
        while left:  # as the loop does it
            tries += 1
            assert tries < 40, "no progress"
            try:
                assert consumer.apply(left[:most]) == []
                left = left[most:]
            except TransientError as error:
                is_smaller = error.smaller
                most //= 2
                consumer.close()
                consumer.open()
                assert is_smaller
        consumer.close()
        assert owner.execute("select count(*) from gadgets").fetchone() == (150,)


def test_a_value_too_long_for_an_index_is_its_records_alone(make_database: Callable[[str], str]) -> None:
    dsn = make_database(TABLE + "create index on gadgets (note);")
    flow = flow_into(dsn, existing=True)
    make_tables(flow)
    consumer, writer = opened(flow), Writer()
    with psycopg.connect(dsn) as owner:
        (long,) = owner.execute("select string_agg(md5(g::text), '') from generate_series(1, 400) g").fetchone() or (
            "",
        )
    (refusal,) = consumer.apply([writer.delivery("1", 1, gadget("long", note=str(long)))])
    assert refusal.error.reason == "ProgramLimitExceeded"
    assert consumer.apply([writer.delivery("2", 1, gadget("short"))]) == []
    consumer.close()


def test_a_locked_row_waits_and_its_neighbours_land(make_database: Callable[[str], str]) -> None:
    dsn = make_database(TABLE)
    flow = flow_into(dsn, existing=True)
    make_tables(flow)
    consumer, writer = opened(flow), Writer()
    assert consumer.apply([writer.delivery(f"g{n}", 1, gadget("x")) for n in range(3)]) == []
    with psycopg.connect(dsn) as other:
        other.execute("update gadgets set name = 'held' where id = 'g1'")
        (refusal,) = consumer.apply([writer.delivery(f"g{n}", 2, gadget("y")) for n in range(3)])
        assert refusal.place == 1
        assert isinstance(refusal.error, MustWait)
    assert consumer.apply([writer.delivery(f"g{n}", 2, gadget("y")) for n in range(3)]) == []
    consumer.close()


SLOW_ROW = """
create function slow() returns trigger language plpgsql as $$
begin
  if new.name = 'slow' then perform pg_sleep(0.3); end if;
  return new;
end $$;
create trigger slow before update on gadgets for each row execute function slow();
"""
SLEEPS = "select 1 from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"


@pytest.mark.parametrize(("first", "then"), [("g1", "g2"), ("g2", "g1")])
def test_who_locks_rows_in_turn_with_us_loses_nothing(
    make_database: Callable[[str], str], first: str, then: str
) -> None:
    """In a deadlock PostgreSQL ends whoever has waited for a second: we have given way before."""
    dsn = make_database(TABLE + SLOW_ROW)
    flow = flow_into(dsn, existing=True)
    make_tables(flow)
    consumer, writer = opened(flow), Writer()
    assert consumer.apply([writer.delivery(id, 1, gadget("x")) for id in ("g1", "g2")]) == []
    batch = [writer.delivery(id, 2, gadget("slow")) for id in ("g1", "g2")]
    with psycopg.connect(dsn) as theirs, psycopg.connect(dsn, autocommit=True) as watch, ThreadPoolExecutor() as pool:
        theirs.execute("update gadgets set note = 'theirs' where id = %s", (first,))
        delivered = pool.submit(consumer.apply, batch)
        end = time.monotonic() + 10
        while not watch.execute(SLEEPS).fetchone() and not delivered.done():
            assert time.monotonic() < end, "nothing was written"
        theirs.execute("update gadgets set note = 'theirs' where id = %s", (then,))  # raises DeadlockDetected otherwise
        theirs.commit()
        waiting = delivered.result(20)
        assert all(isinstance(one.error, MustWait) for one in waiting)
        if waiting:
            assert consumer.apply(batch) == []
        rows = watch.execute("select id, name from gadgets order by 1").fetchall()
    assert rows == [("g1", "slow"), ("g2", "slow")]
    consumer.close()


def test_a_delete_waits_for_another_writer_s_long_batch(make_database: Callable[[str], str]) -> None:
    dsn = make_database("")
    flow = flow_into(dsn)
    make_tables(flow)
    consumer, writer = opened(flow), Writer()
    assert consumer.apply([writer.delivery("g1", 1, gadget("x"))]) == []
    with psycopg.connect(dsn) as other, psycopg.connect(dsn, autocommit=True) as watch, ThreadPoolExecutor() as pool:
        other.execute("select pg_advisory_xact_lock_shared(hashtext('public.gadgets'))")
        delivered = pool.submit(consumer.apply, [writer.delivery("g1", 2, None)])
        began = time.monotonic()
        while not watch.execute("select 1 from pg_locks where locktype = 'advisory' and not granted").fetchone():
            assert time.monotonic() < began + 10, "the delete doesn't wait"
        watch.execute("select pg_sleep(1)")
        other.commit()
        assert delivered.result(10) == []
        assert watch.execute("select count(*) from gadgets").fetchone() == (0,)
    consumer.close()
