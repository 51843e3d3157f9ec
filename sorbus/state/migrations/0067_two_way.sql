-- Records that several systems change: what they are by the merge's rules, and what each system showed last.

create table merged_record (
    data_type text not null,
    id text not null,
    -- 0: its system of record has never shown it
    version bigint not null,
    -- the head of its frame, which says what schema wrote it, and the record in Avro; null when deleted
    prefix bytea,
    data bytea,
    -- origins: field -> system, time, version; held: field, system, time of what a person decides
    about json not null,
    -- whether this version may not be on the topic yet
    owed boolean not null,
    unlinked_since timestamptz,
    primary key (data_type, id)
);

create index merged_record_owed on merged_record (data_type, version) where owed;
create index merged_record_unlinked on merged_record (data_type, unlinked_since) where unlinked_since is not null;

create table system_view (
    data_type text not null,
    id text not null,
    system text not null,
    version bigint not null,
    knows bigint not null,
    -- its last proposal as it was on the topic; null when deleted
    frame bytea,
    primary key (data_type, id, system)
);

create table joined_type (
    data_type text primary key,
    -- grows when the systems are joined again: the merge then reads all that they show from the beginning
    generation integer not null default 1,
    joined_at timestamptz not null default now(),
    joined_by text not null
);
