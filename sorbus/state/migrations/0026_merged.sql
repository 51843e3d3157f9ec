-- What people decided about duplicates, remembered so that it isn't asked again.

-- Pairs that are not the same.
create table duplicate_apart (
    system text not null,
    data_type text not null,
    id text not null,
    external_id text not null,
    at timestamptz not null default now(),
    who text not null,
    primary key (system, data_type, id, external_id)
);

-- Records of a target that are the same as one that survives: never candidates again.
create table duplicate_merged (
    system text not null,
    data_type text not null,
    external_id text not null,
    survivor text not null,
    id text not null,
    candidate bigint not null references duplicate_candidates (number),
    -- how it is taken away there: merged by the application, deleted, or by a person's own hand
    way text not null check (way in ('merge', 'delete', 'person')),
    state text not null check (state in ('due', 'done')),
    who text not null,
    at timestamptz not null default now(),
    done_at timestamptz,
    done_by text,
    -- why it isn't done yet
    problem text not null default '',
    primary key (system, data_type, external_id)
);

create index duplicate_merged_due on duplicate_merged (at) where state = 'due';
create index duplicate_merged_candidate on duplicate_merged (candidate);
