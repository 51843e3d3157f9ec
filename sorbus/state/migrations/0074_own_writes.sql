-- What Sorbus writes into systems without a log that also change the records themselves (two-way over HTTP).

-- Numbers everything below, in the order in which it becomes visible: its row is locked until the end of each write.
create table own_write_count (
    system text not null,
    data_type text not null,
    number bigint not null,
    primary key (system, data_type)
);

create table own_write (
    system text not null,
    data_type text not null,
    id text not null,
    number bigint not null,
    external_id text,
    -- the last version of the record whose state there was noted
    noted bigint not null default 0,
    -- a write of which nobody knows yet what became of it; null: there is none
    opened_at timestamptz,
    version bigint,
    -- the record before it (null: it was made), what was sent, and states found since that may be people's
    before json,
    sent json,
    suspects json,
    -- field -> what was sent and what the system made of it, where they differ
    kept json not null default '{}',
    primary key (system, data_type, id)
);

create index own_write_external on own_write (system, data_type, external_id);

-- States that followed our writes, until the system's producer has published them.
create table own_state (
    system text not null,
    data_type text not null,
    number bigint not null,
    id text not null,
    external_id text not null,
    -- which version of the record it brings; null: people's change, found under a write of ours
    version bigint,
    -- null: the record is only to be looked at
    record json,
    primary key (system, data_type, number)
);
