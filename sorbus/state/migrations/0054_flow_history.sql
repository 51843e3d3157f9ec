-- What was captured and delivered, in windows of a minute; and which parts of a topic may hold a record's events.

create table history_run (
    run text primary key,
    activity text not null check (activity in ('capture', 'delivery')),
    subject text not null,              -- a system (capture) or a flow (delivery)
    instance text not null,
    began_at timestamptz not null,
    seen_at timestamptz not null,
    ended_at timestamptz
);
create index history_run_by_subject on history_run (activity, subject, began_at);

create table history_window (
    run text not null references history_run on delete cascade,
    data_type text not null,
    began_at timestamptz not null,
    ended_at timestamptz not null,
    captured bigint not null default 0,
    created bigint not null default 0,
    updated bigint not null default 0,
    linked bigint not null default 0,
    deleted bigint not null default 0,
    written bigint not null default 0,
    skipped bigint not null default 0,
    refused bigint not null default 0,
    deferred bigint not null default 0,
    bytes bigint not null default 0,
    seconds double precision not null default 0,
    primary key (run, data_type, began_at)
);
create index history_window_by_time on history_window (began_at);

create view flow_run as
select run, activity, subject, instance, began_at, seen_at, ended_at,
       case when ended_at is not null then 'ended'
            when seen_at > now() - interval '5 minutes' then 'running'
            else 'crashed' end as state
from history_run;

create view flow_history as
select r.activity, r.subject, w.data_type, w.run, w.began_at, w.ended_at, w.captured,
       w.created, w.updated, w.linked, w.deleted, w.written, w.skipped, w.refused, w.deferred, w.bytes, w.seconds
from history_window w join history_run r using (run);

create table key_filter (
    topic text not null,
    topic_id text not null,             -- Kafka's: a recreated topic has another one
    partition integer not null,
    number integer not null,            -- offsets number * 16384 to the next multiple
    filter bytea not null,              -- a Bloom filter of the keys there
    primary key (topic_id, partition, number)
);
alter table key_filter alter column filter set storage external;
