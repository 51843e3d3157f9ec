-- Dead letters for reading, and what people did: the topics stay the truth of what is open.

create table letter (
    id text primary key,
    -- its key on the topic, byte for byte
    key bytea not null,
    data_type text not null,
    system text not null,
    flow text not null,
    reason text not null,
    message text not null,
    field text not null,
    rule text not null,
    words text not null,
    topic text not null,
    partition integer not null,
    "offset" bigint not null,
    attempts integer not null,
    first_at timestamptz not null,
    last_at timestamptz not null,
    record_id bytea not null,
    -- of the event, where its bytes say one
    version bigint,
    -- what letters with one cause share: a hash of data type, flow or system, reason, field and rule
    cause text not null,
    state text not null
        check (state in ('open', 'requeueing', 'requeued', 'landed', 'superseded', 'discarded')),
    state_at timestamptz not null,
    -- the version of the record that made the letter obsolete
    superseded_by bigint,
    -- the record's bytes and its own headers: only as long as the letter isn't closed
    frame bytea,
    header_names text[] not null,
    header_values bytea[] not null,
    -- when it was last read from the topic: what a rebuilding doesn't meet is gone
    read_at timestamptz not null default clock_timestamp()
);

create index letter_by_cause on letter (cause, first_at, id) include (last_at, state)
    where state in ('open', 'requeueing', 'requeued');
create index letter_by_age on letter (first_at, id) where state in ('open', 'requeueing', 'requeued');
create index letter_by_record on letter (data_type, record_id);

create table letter_position (
    topic text not null,
    partition integer not null,
    next bigint not null,
    -- the topic's id in Kafka: another one means that it was made anew
    topic_id text not null,
    read_at timestamptz not null default clock_timestamp(),
    -- set while the topic is read again from its beginning
    rebuilding_since timestamptz,
    primary key (topic, partition)
);

-- What people add stays when the letters are read again.
create table letter_assignment (
    id text primary key,
    person text not null,
    by text not null,
    at timestamptz not null default clock_timestamp()
);

create index letter_assignment_person on letter_assignment (person);

create table letter_edit (
    id text not null,
    at timestamptz not null default clock_timestamp(),
    who text not null,
    -- names only
    fields text[] not null,
    -- as it was before the edit, until the letter is closed
    frame bytea,
    primary key (id, at)
);

-- What people did, when and why. Only ever added to; no values of records.
create table audit (
    number bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    who text not null,
    action text not null,
    subject_kind text not null,
    subject text not null,
    data_type text not null,
    record text not null,
    reason text not null,
    details jsonb not null,
    -- one of the many things that a person did at once
    part_of bigint references audit
);

create index audit_whole on audit (number) where part_of is null;
create index audit_subject on audit (subject_kind, subject, number);
create index audit_record on audit (data_type, record, number) where record <> '';

create function audit_stays() returns trigger language plpgsql as $$
begin
    raise exception 'the audit trail is only ever added to';
end
$$;

create trigger audit_stays before update or delete on audit for each row execute function audit_stays();
create trigger audit_stays_whole before truncate on audit for each statement execute function audit_stays();
