-- Which digest went to whom: each once, however many processes send them.

create table digest_sent (
    address text not null,
    -- the time of its schedule
    due timestamptz not null,
    sent_at timestamptz not null default now(),
    primary key (address, due)
);
