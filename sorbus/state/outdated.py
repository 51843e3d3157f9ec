"""What the state keeps for a while only: deleted in small parts, so that no delete takes long, however much it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sorbus.state.database import State

KEEP_HISTORY = 100
"""Days that windows of the history are kept: thirteen weeks, and what a comparison with them needs."""
_KEEP = 366
"""Days for what is settled: closed dead letters, decided conflicts, comparisons and what they found."""
_PART = 5_000
_STATEMENTS = (
    b"""
with gone as (
    delete from history_window where ctid = any (array(
        select ctid from history_window where began_at < now() - make_interval(days => %(history)s) limit %(most)s
    )) returning 1
)
select count(*) from gone
""",
    # After its windows.
    b"""
with gone as (
    delete from history_run where ctid = any (array(
        select ctid from history_run where seen_at < now() - make_interval(days => %(history)s) limit %(most)s
    )) returning 1
)
select count(*) from gone
""",
    b"""
with gone as (
    delete from letter where ctid = any (array(
        select ctid from letter
        where state in ('landed', 'superseded', 'discarded') and state_at < now() - make_interval(days => %(days)s)
        limit %(most)s
    )) returning id
), edits as (
    delete from letter_edit using gone where letter_edit.id = gone.id
), assignments as (
    delete from letter_assignment using gone where letter_assignment.id = gone.id
)
select count(*) from gone
""",
    # What an application rewrites is remembered.
    b"""
with gone as (
    delete from conflict where ctid = any (array(
        select ctid from conflict
        where state in ('over', 'overwritten') and changed_at < now() - make_interval(days => %(days)s)
        limit %(most)s
    )) returning 1
)
select count(*) from gone
""",
    b"""
with gone as (
    delete from reconcile_difference where ctid = any (array(
        select ctid from reconcile_difference where closed_at < now() - make_interval(days => %(days)s) limit %(most)s
    )) returning 1
)
select count(*) from gone
""",
    # Each flow's last comparison stays, and its last of all records.
    b"""
with gone as (
    delete from reconcile_run where ctid = any (array(
        select ctid from reconcile_run r
        where finished_at < now() - make_interval(days => %(days)s) and exists (
            select from reconcile_run later
            where later.flow = r.flow and later.number > r.number and later.method <> 'changed'
        )
        limit %(most)s
    )) returning 1
)
select count(*) from gone
""",
)


def delete_outdated(state: State, is_over: Callable[[], bool] = lambda: False) -> None:
    """Deletes it, unless another process is at it; until `is_over`. TransientError, AuthError."""
    with state.lock("outdated") as is_ours:
        if is_ours:
            for statement in _STATEMENTS:
                delete_in_parts(state, statement, {"history": KEEP_HISTORY, "days": _KEEP}, is_over)


def delete_in_parts(
    state: State, statement: bytes, values: Mapping[str, object], is_over: Callable[[], bool] = lambda: False
) -> None:
    """Runs a statement that deletes at most %(most)s rows and says how many, until there are no more, or `is_over`."""
    while not is_over():
        if state.run(statement, {**values, "most": _PART}) != [(_PART,)]:
            return
