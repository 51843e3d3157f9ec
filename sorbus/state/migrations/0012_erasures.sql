-- Every erasure that a person asked for, with its receipt.

create table erasure (
    number bigint generated always as identity primary key,
    at timestamptz not null default now(),
    who text not null,
    data_type text not null,
    id text not null,
    reason text not null,
    -- whether nothing was left that a person has to do
    complete boolean not null,
    -- json, not jsonb: as it was signed, in its order
    receipt json not null,
    hash text not null
);

create index erasure_record on erasure (data_type, id, at);
