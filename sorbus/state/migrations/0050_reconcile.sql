-- Reconciliations and the records on which an owner and a target disagree.

create table reconcile_run (
    number bigint generated always as identity primary key,
    flow text not null,
    method text not null check (method in ('checksums', 'list', 'sample', 'topic', 'changed')),
    started_at timestamptz not null,
    finished_at timestamptz not null,
    -- null: not counted
    owner_records bigint,
    target_records bigint,
    compared bigint not null,
    rows_fetched bigint not null,
    bytes_scanned bigint not null,
    -- by kind: {"missing": 3}
    counts jsonb not null,
    in_flight bigint not null,
    undecided bigint not null,
    -- what was left out, a sentence each
    not_compared jsonb not null,
    -- fields that were compared with what the topic holds, a sentence each
    from_topic jsonb not null,
    -- the topic's id, and where its partitions ended when it began: {"topic": "...", "0": 17}
    offsets jsonb not null
);

create index reconcile_run_flow on reconcile_run (flow, number desc);

create table reconcile_difference (
    flow text not null,
    id text not null,
    kind text not null check (kind in ('missing', 'extra', 'different', 'stale')),
    -- [[field, owner's value, target's value], ...], masked where personal
    fields jsonb not null,
    why text not null,
    first_run bigint not null,
    last_run bigint not null,
    first_seen timestamptz not null,
    last_seen timestamptz not null,
    healed_at timestamptz,
    healed_by text,
    -- set when a later reconciliation found them equal
    closed_at timestamptz
);

create unique index reconcile_difference_open on reconcile_difference (flow, id) where closed_at is null;
create index reconcile_difference_closed on reconcile_difference (closed_at) where closed_at is not null;
