"""What the state keeps for a while only goes in small parts, and nothing else goes with it."""

from __future__ import annotations

import pytest

from sorbus.ops.reconcile.store import ReconcileStore
from sorbus.state import State, outdated
from sorbus.state.outdated import delete_outdated

_FILL = b"""
insert into letter (id, key, data_type, system, flow, reason, message, field, rule, words, topic, partition, "offset",
    attempts, first_at, last_at, record_id, cause, state, state_at, header_names, header_values)
select state || age || '-' || i, 'k', 'order', '', 'order-to-crm', 'TooLong', '', '', '', '', 'order', 0, i, 1,
    now() - interval '3 years', now(), 'r', 'cause', state, now() - make_interval(days => age), '{}', '{}'
from unnest(array['open', 'requeueing', 'requeued', 'landed', 'superseded', 'discarded']) state,
    unnest(array[10, 400]) age, generate_series(1, 70) i;
insert into letter_edit (id, who, fields) select id, 'Ada', '{}' from letter;
insert into letter_assignment (id, person, by) select id, 'Ada', 'Ada' from letter;

insert into conflict (system, data_type, id, flow, external_id, field, version, state, changed_at)
select 'crm', 'order', state || age || '-' || i, 'order-to-crm', '1', 'name', 1, state,
    now() - make_interval(days => age)
from unnest(array['open', 'overwrite', 'keep', 'overwritten', 'rewritten', 'over']) state,
    unnest(array[10, 400]) age, generate_series(1, 70) i;

insert into reconcile_difference (flow, id, kind, fields, why, cause, first_run, last_run, first_seen, last_seen,
    closed_at)
select 'order-to-crm', coalesce(age::text, 'open') || '-' || i, 'missing', '[]', '', 'foreign', 1, 1, now(), now(),
    now() - make_interval(days => age)
from unnest(array[10, 400, null]) age, generate_series(1, 70) i;

insert into reconcile_run (flow, method, started_at, finished_at, compared, rows_fetched, bytes_scanned, counts,
    in_flight, undecided, not_compared, from_topic, offsets)
select flow, method, now() - make_interval(days => age), now() - make_interval(days => age), 1, 0, 0, '{}', 0, 0, '[]',
    '[]', '{}'
from (values
    ('all gone but the last', 'checksums', 900), ('all gone but the last', 'checksums', 800),
    ('whole and changed', 'checksums', 900), ('whole and changed', 'list', 800), ('whole and changed', 'changed', 700),
    ('changed alone', 'changed', 900), ('changed alone', 'changed', 3),
    ('runs', 'topic', 500), ('runs', 'changed', 450), ('runs', 'list', 4), ('runs', 'changed', 3)
) run (flow, method, age);

insert into history_run (run, activity, subject, instance, began_at, seen_at)
select 'run ' || age, 'delivery', 'order-to-crm', 'h:1', now() - interval '200 days', now() - make_interval(days => age)
from unnest(array[1, 150]) age;
insert into history_window (run, data_type, began_at, ended_at)
select 'run ' || seen, 'order', now() - make_interval(days => age, mins => i), now()
from (values (1, 2), (1, 120), (150, 160)) as each (seen, age), generate_series(1, 70) i;
"""
_LEFT = {
    "select state, count(*), min(state_at) < now() - interval '1 year' from letter group by state": {
        ("open", 140, True), ("requeueing", 140, True), ("requeued", 140, True),
        ("landed", 70, False), ("superseded", 70, False), ("discarded", 70, False),
    },
    "select count(*) from letter_edit join letter using (id)": {(630,)},
    "select count(*) from letter_edit": {(630,)},
    "select count(*) from letter_assignment": {(630,)},
    "select state, count(*) from conflict group by state": {
        ("open", 140), ("overwrite", 140), ("keep", 140), ("rewritten", 140), ("overwritten", 70), ("over", 70),
    },
    "select split_part(id, '-', 1), count(*) from reconcile_difference group by 1": {("open", 70), ("10", 70)},
    "select flow, method, (now()::date - started_at::date) from reconcile_run": {
        ("all gone but the last", "checksums", 800),
        ("whole and changed", "list", 800), ("whole and changed", "changed", 700),
        ("changed alone", "changed", 900), ("changed alone", "changed", 3),
        ("runs", "list", 4), ("runs", "changed", 3),
    },
    "select run from history_run": {("run 1",)},
    "select run, count(*) from history_window group by run": {("run 1", 70)},
}  # fmt: skip


def found(state: State, query: str) -> set[tuple[object, ...]]:
    return set(state.run(query.encode()))


def last_of(state: State) -> tuple[object, ...]:
    store = ReconcileStore(state)
    return store.last_runs(), store.compared()


def test_only_what_is_settled_and_old_goes(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    with state.connection() as connection:
        connection.execute(_FILL)
    last = last_of(state)
    monkeypatch.setattr(outdated, "_PART", 50)
    with state.lock("outdated") as is_ours:
        assert is_ours
        delete_outdated(state)  # another process is at it
        delete_outdated(state, lambda: True)
    assert found(state, "select count(*) from letter") == {(840,)}
    delete_outdated(state)
    for query, left in _LEFT.items():
        assert found(state, query) == left
    assert last_of(state) == last


def test_each_flows_last_comparisons_are_found(state: State) -> None:
    assert last_of(state) == ({}, {})
    with state.connection() as connection:
        connection.execute(_FILL)
    runs, compared = last_of(state)
    whole = found(state, "select flow, max(number) from reconcile_run where method <> 'changed' group by flow")
    ends = found(state, "select flow, finished_at from reconcile_run where number in (select max(number) from"
                        " reconcile_run group by flow)")  # fmt: skip
    begins = {(flow, at) for flow, number in whole for (at,) in state.run(
        b"select started_at from reconcile_run where number = %s", (number,))}  # fmt: skip
    ran = found(state, "select subject, min(began_at) from history_run group by subject")
    assert isinstance(runs, dict)
    assert isinstance(compared, dict)
    assert {(flow, one.at) for flow, one in runs.items()} == ends
    assert {(flow, at) for flow, (at, is_run) in compared.items() if is_run} == begins
    assert {(flow, at) for flow, (at, is_run) in compared.items() if not is_run} == ran
