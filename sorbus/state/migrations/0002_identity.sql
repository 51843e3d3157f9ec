-- Which record of one system is which record of another, and what a person decided where that was in doubt.

create table crosswalk (
    system text not null,
    data_type text not null,
    id text not null,
    external_id text,
    state text not null check (state in ('linked', 'intended', 'gone')),
    version bigint not null,
    -- of the creation under way: the same at every try, so that the target knows a repeated request
    key text not null,
    intended_at timestamptz,
    -- json, not jsonb: keeps every number and text as it was sent, \u0000 too
    sent json,
    linked_at timestamptz,
    changed_at timestamptz not null default now(),
    primary key (system, data_type, id),
    check (state <> 'linked' or external_id is not null)
);

-- A record that is gone may keep its external id, but no longer stands in another's way.
create unique index crosswalk_external on crosswalk (system, data_type, external_id) where state <> 'gone';

create table duplicate_candidates (
    number bigint generated always as identity primary key,
    system text not null,
    data_type text not null,
    id text not null,
    version bigint not null,
    why text not null,
    record json not null,
    candidates json not null,
    state text not null check (state in ('open', 'decided', 'done')),
    decision text check (decision in ('link', 'create')),
    external_id text,
    found_at timestamptz not null default now(),
    decided_at timestamptz,
    decided_by text,
    reason text,
    unique (system, data_type, id),
    check ((state = 'open') = (decision is null) or state = 'done'),
    check ((decision = 'link') = (external_id is not null) or decision is null)
);

create index duplicate_candidates_open on duplicate_candidates (system, data_type) where state = 'open';

create table duplicate_decisions (
    candidate bigint not null references duplicate_candidates (number),
    at timestamptz not null default now(),
    who text not null,
    decision text not null,
    external_id text,
    reason text not null
);

create index duplicate_decisions_candidate on duplicate_decisions (candidate, at);
