-- How often each flow has deferred records of a partition. Kafka has the number with the flow's offsets: where it is
-- lower here, this database was restored to before, and lacks what was deferred since.
create table deferral (
    flow text not null,
    partition integer not null,
    count bigint not null,
    primary key (flow, partition)
);
