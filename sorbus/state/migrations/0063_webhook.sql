-- What was posted to webhooks: a receiver can't be asked what it has.

create table webhook_record (
    flow text not null,
    id text not null,
    -- the last one that was answered 2xx; a deleted record leaves its own behind, so that a late event can't bring it back
    version bigint not null,
    primary key (flow, id)
);

-- Every attempt of the last 30 days; no content of records.
create table webhook_attempt (
    flow text not null,
    data_type text not null,
    at timestamptz not null,
    id text not null,
    version bigint not null,
    message text not null,
    -- of the answer; null where none came
    status integer,
    -- delivered, refused, failed
    outcome text not null,
    seconds real not null
);

create index webhook_attempt_at on webhook_attempt (flow, at);
create index webhook_attempt_id on webhook_attempt (flow, id, at);

-- Endpoints that fail, since when.
create table webhook_endpoint (
    flow text primary key,
    failing_since timestamptz not null,
    failures integer not null
);

-- Records that failed while others were accepted: the fault is not the endpoint's.
create table webhook_failing (
    flow text not null,
    id text not null,
    primary key (flow, id)
);
