"""Sorbus's own state: made once, in order, by a role with few rights; errors say what to do."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import sql
from psycopg_pool import ConnectionPool, PoolTimeout

from sorbus.errors import AuthError, SorbusError, TransientError
from sorbus.ops.embedded import Addresses
from sorbus.state import State, database, migrate, plan_state
from sorbus.state.database import schema_of


def test_plan_shows_one_step_that_makes_it_and_then_none(database: str) -> None:
    (step,) = plan_state(database, "north.")
    assert (step.where, step.what) == ("state database", "create schema sorbus_north_")
    assert "0001_limits.sql" in step.detail
    assert step.apply is not None
    step.apply()
    assert plan_state(database, "north.") == []
    assert len(plan_state(database, "")) == 1, "another map in the same database has a state of its own"


@pytest.mark.parametrize(("one", "other"), [("north.eu.", "north-eu."), ("north_", "north."), ("n" * 60, "n" * 61)])
def test_maps_whose_prefixes_look_alike_never_share_a_state(database: str, one: str, other: str) -> None:
    """Their flows have the same names: each would take what the other has deferred."""
    for step in plan_state(database, one):
        assert step.apply is not None
        step.apply()
    assert plan_state(database, one) == []
    if schema_of(one) != schema_of(other):
        assert len(plan_state(database, other)) == 1
        return
    with pytest.raises(SorbusError, match="give one of them another prefix"):
        plan_state(database, other)
    state = State(database, other)
    with pytest.raises(SorbusError, match=f"topic_prefix '{one}'"):
        migrate(state)
    state.close()


def test_a_state_of_the_same_map_in_another_kafka_is_taken_over_by_a_step_that_says_so(database: str) -> None:
    """As where a test installation was given the database of the real one."""

    def applied(kafka: str) -> list[str]:
        steps = plan_state(database, "north.", kafka)
        for step in steps:
            assert step.apply is not None
            step.apply()
        return [step.what for step in steps]

    assert applied("real") == ["create schema sorbus_north_"]
    assert applied("real") == applied("") == []
    (step,) = plan_state(database, "north.", "test")
    assert "another Kafka (cluster real, and this one is test)" in step.detail
    assert applied("test") == ["take over schema sorbus_north_"]
    assert applied("test") == []
    assert applied("real") == ["take over schema sorbus_north_"], "both see it"


def test_an_administrators_comment_on_the_schema_stays(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute("create schema sorbus; comment on schema sorbus is 'by hand'")
        for step in plan_state(database, "", "kafka"):
            assert step.apply is not None
            step.apply()
        said = owner.execute("select obj_description('sorbus'::regnamespace, 'pg_namespace')").fetchone()
    assert said == ("by hand",)
    assert plan_state(database, "", "another") == []


def test_processes_that_migrate_at_once_apply_each_file_once(database: str) -> None:
    states = [State(database) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        done = sorted(name for names in pool.map(migrate, states) for name in names)
    for state in states:
        state.close()
    assert done == sorted(set(done))
    assert done


def test_a_changed_migration_is_refused_in_plain_words(state: State) -> None:
    with state.connection() as connection:
        connection.execute("update migration set hash = 'another' where name = '0001_limits.sql'")
    with pytest.raises(SorbusError, match=r"0001_limits\.sql has changed since it was applied"):
        migrate(state)


def test_a_state_that_is_up_to_date_is_asked_but_once(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[State] = []
    plain = State.connection
    monkeypatch.setattr(State, "connection", lambda self: asked.append(self) or plain(self))
    assert migrate(state) == []
    assert asked == [state]


def test_each_migration_has_a_number_of_its_own() -> None:
    numbers = [migration.name.partition("_")[0] for migration in database.migrations()]
    assert numbers == sorted(set(numbers))


def test_what_was_applied_under_a_former_name_is_not_applied_again(state: State) -> None:
    state.run(b"update migration set name = '0022_merged.sql' where name = '0026_merged.sql'")
    assert migrate(state) == []


def test_a_failed_migration_leaves_nothing_behind(database_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = (database.Migration("0001_a.sql", "create table a (); select 1/0"),)
    monkeypatch.setattr(database, "migrations", lambda: broken)
    state = State(database_)
    with pytest.raises(SorbusError, match="division by zero"):
        migrate(state)
    with psycopg.connect(database_) as connection:
        assert connection.execute("select count(*) from pg_namespace where nspname = 'sorbus'").fetchone() == (0,)
    state.close()


def test_a_state_that_was_not_made_says_who_makes_it(database: str) -> None:
    state = State(database)
    with pytest.raises(TransientError, match="run `sorbus apply`"), state.connection() as connection:
        connection.execute("select * from migration")
    state.close()


def test_an_unreachable_database_is_transient_and_a_missing_one_is_refused(stack: Addresses) -> None:
    nowhere = State("postgresql://127.0.0.1:1/sorbus")
    with pytest.raises(TransientError, match="connecting for state"), nowhere.connection():
        pass
    missing = State(stack.database.rpartition("/")[0] + "/none_of_this_name")
    with pytest.raises(AuthError, match="none_of_this_name"), missing.connection():
        pass
    nowhere.close()
    missing.close()


def test_what_fails_inside_is_rolled_back_and_what_was_closed_opens_again(state: State) -> None:
    with pytest.raises(SorbusError), state.connection() as connection:
        connection.execute("create table half (); select 1/0")
    state.close()
    assert state.run(b"select to_regclass('half')") == [(None,)]


def test_a_connection_that_the_server_ended_is_replaced(state: State, database: str) -> None:
    ((pid,),) = state.run(b"select pg_backend_pid()")
    with psycopg.connect(database, autocommit=True) as other:
        other.execute("select pg_terminate_backend(%s, 10_000)", (pid,))
    assert state.run(b"select 1") == [(1,)]


def test_a_session_that_may_only_read_is_replaced(state: State, database: str) -> None:
    """As after a failover: its server is a standby now, and the address leads to another one."""
    state.close()
    add = b"insert into letter_assignment (id, person, by) values ('1', 'Ada', 'Ann')"
    with psycopg.connect(database, autocommit=True) as owner:
        name = sql.Identifier(owner.info.dbname)
        owner.execute(sql.SQL("alter database {} set default_transaction_read_only = on").format(name))
        with pytest.raises(TransientError, match="read-only"):
            state.run(add)
        owner.execute(sql.SQL("alter database {} reset default_transaction_read_only").format(name))
    state.run(add)
    assert state.run(b"select person from letter_assignment") == [("Ada",)]


def test_a_pool_that_is_not_full_is_not_called_busy(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """As just after an outage, while the pool pauses between its tries."""
    state.run(b"select 1")

    def pause(_: object) -> None:
        raise PoolTimeout("no connection")

    monkeypatch.setattr(ConnectionPool, "connection", pause)
    with pytest.raises(TransientError, match="being opened again") as raised:
        state.run(b"select 1")
    assert "busy" not in str(raised.value)
    monkeypatch.setattr(ConnectionPool, "get_stats", lambda _: {"pool_size": database.LARGEST})
    with pytest.raises(TransientError, match="all 10 connections are busy"):
        state.run(b"select 1")


def test_the_role_needs_create_on_its_own_database_and_nothing_else(
    stack: Addresses, make_database: Callable[[str], str], unique: str
) -> None:
    dsn = make_database("")
    name = dsn.rpartition("/")[2]
    role = sql.Identifier(unique)
    with psycopg.connect(stack.database, autocommit=True) as connection:
        connection.execute(sql.SQL("create role {} login").format(role))
        connection.execute(sql.SQL("grant create on database {} to {}").format(sql.Identifier(name), role))
    address = stack.database.partition("://")[2].rpartition("@")[2].partition("/")[0]
    state = State(f"postgresql://{unique}@{address}/{name}")
    try:
        assert migrate(state)
    finally:
        state.close()


@pytest.fixture
def database_(make_database: Callable[[str], str]) -> str:
    return make_database("")


@pytest.mark.parametrize(("there", "here"), [("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")])
def test_what_waits_in_the_state_outlives_a_server_that_commits_asynchronously(
    database: str, there: str, here: str
) -> None:
    with psycopg.connect(database, autocommit=True) as owner:
        name = sql.Identifier(owner.info.dbname)
        owner.execute(sql.SQL("alter database {} set synchronous_commit = {}").format(name, there))
    state = State(database)
    assert state.run(b"show synchronous_commit") == [(here,)]
    with state.connection() as connection:
        assert connection.execute("show synchronous_commit").fetchone() == (here,)
    state.close()
