-- What was captured and delivered, in windows of a minute; and which parts of a topic may hold a record's events.

create table flow_window (
    activity text not null check (activity in ('capture', 'delivery')),
    subject text not null,              -- a system (capture) or a flow (delivery)
    data_type text not null,
    run text not null,                  -- one start of one process
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
    lost_before boolean not null default false,
    is_last boolean not null default false,
    primary key (activity, subject, data_type, run, began_at)
);
create index flow_window_by_time on flow_window (began_at);

create view flow_history as
select activity, subject, data_type, run, began_at, ended_at, captured,
       created + updated + linked + deleted + written as changed,
       created, updated, linked, deleted, written, skipped, refused, deferred, bytes, seconds, lost_before, is_last
from flow_window;

create view flow_history_hourly as
select activity, subject, data_type, date_trunc('hour', began_at, 'UTC') as hour,
       sum(captured) as captured, sum(changed) as changed, sum(created) as created, sum(updated) as updated,
       sum(linked) as linked, sum(deleted) as deleted, sum(written) as written, sum(skipped) as skipped,
       sum(refused) as refused, sum(deferred) as deferred, sum(bytes) as bytes, sum(seconds) as seconds,
       bool_or(lost_before) as has_gap
from flow_history
group by activity, subject, data_type, date_trunc('hour', began_at, 'UTC');

create table key_filter (
    topic text not null,
    topic_id text not null,             -- Kafka's: a recreated topic has another one
    partition integer not null,
    number integer not null,            -- offsets number * 16384 to the next multiple
    filter bytea not null,              -- a Bloom filter of the keys there
    primary key (topic_id, partition, number)
);
alter table key_filter alter column filter set storage external;
