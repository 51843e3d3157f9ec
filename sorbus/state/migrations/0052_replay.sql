-- Replays of flows: what was asked for, how far each has come, and what it did. One at a time per flow is unfinished.

create table replay (
    number bigint generated always as identity primary key,
    flow text not null,
    -- {"since": ..., "offsets": {"0": 17}, "ids": [...], "where": ..., "cause": ..., "shadow": true}
    request jsonb not null,
    started_at timestamptz not null default now(),
    started_by text not null,
    -- who runs it now or ran it last: host and process id
    holder text not null,
    seen_at timestamptz not null default now(),
    -- 'stopped' can be resumed; a killed one stays 'running' without anyone who holds its lock
    state text not null default 'running' check (state in ('running', 'stopped', 'finished', 'cancelled', 'failed')),
    cancelled_by text,
    -- partition -> the offset to be read next: {"0": 4711}
    offsets jsonb not null default '{}',
    events bigint not null default 0,
    total bigint not null default 0,
    applied bigint not null default 0,
    refused bigint not null default 0,
    waiting bigint not null default 0,
    finished_at timestamptz
);

create unique index replay_unfinished on replay (flow) where state in ('running', 'stopped', 'failed');
create index replay_flow on replay (flow, number desc);
