-- Fields of a target that somebody changed there by hand, although another system owns them.

create table conflict (
    number bigint generated always as identity primary key,
    system text not null,
    data_type text not null,
    id text not null,
    flow text not null,
    external_id text not null,
    field text not null,
    version bigint not null,
    -- what was sent last, what the target has, what the owner has; json as in crosswalk.sent, null once forgotten
    sent json,
    theirs json,
    ours json,
    -- open, overwrite and keep stand: of each field of a record at most one
    state text not null check (state in ('open', 'overwrite', 'keep', 'overwritten', 'rewritten', 'over')),
    found_at timestamptz not null default now(),
    changed_at timestamptz not null default now(),
    decided_at timestamptz,
    decided_by text,
    reason text not null default ''
);

create unique index conflict_standing on conflict (system, data_type, id, field)
    where state in ('open', 'overwrite', 'keep');
create index conflict_rewritten on conflict (system, data_type) where state = 'rewritten';
create index conflict_open on conflict (found_at, number) where state = 'open';
create index conflict_overwritten on conflict (changed_at) where state = 'overwritten';
create index conflict_record on conflict (data_type, id);
