-- Manual sync: what each prepared sheet asked for, what people answered, and what is confirmed of each record.

create table manual_sheet (
    sheet bigint generated always as identity primary key,
    code text not null unique,
    flow text not null,
    round timestamptz not null,
    prepared_at timestamptz not null default now(),
    prepared_by text not null,
    -- the owner's records when the sheet was prepared, and the sums of the fields under `totals`
    owner_figures jsonb not null,
    closed_at timestamptz
);
create index manual_sheet_flow on manual_sheet (flow, sheet);

create table manual_sheet_row (
    sheet bigint not null references manual_sheet on delete cascade,
    row int not null,
    data_type text not null,
    id text not null,
    change text not null,
    -- the target's fields before and after; null where the record is not in the target
    before json,
    after json,
    -- null until a person has answered; outdated: a newer sheet had confirmed the record already
    outcome text check (outcome in ('done', 'not done', 'outdated')),
    reason text not null default '',
    answered_at timestamptz,
    answered_by text,
    primary key (sheet, row)
);
create index manual_sheet_row_record on manual_sheet_row (data_type, id);

-- What people last confirmed of each record. A confirmed delete stays, without fields: its sheet keeps an older one
-- from confirming the record again.
create table manual_record (
    flow text not null,
    data_type text not null,
    id text not null,
    sheet bigint not null,
    fields json,
    target_number text not null default '',
    -- listed again in the next sheet, whether it has changed or not
    check_again boolean not null default false,
    confirmed_at timestamptz not null default now(),
    confirmed_by text not null,
    primary key (flow, id)
);
create index manual_record_record on manual_record (data_type, id);

-- The figures that a round was verified by; null: none, only words.
alter table checklist_round add column figures jsonb;
