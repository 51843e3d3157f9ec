-- Process steps with `begin: now`: every record that one has seen, and which of them make nothing.

create table step_begin (
    step text primary key,
    begun_at timestamptz not null default now()
);
create table step_record (
    step text not null references step_begin on delete cascade,
    id text not null,
    version bigint not null,
    new_from bigint,
    primary key (step, id)
);
create index step_record_earlier on step_record (step) where new_from is null;
comment on column step_record.version is 'of the event that it was first seen with';
comment on column step_record.new_from is
    'of the first event from which it counts as new; null: it fitted before the step began, and makes nothing';
