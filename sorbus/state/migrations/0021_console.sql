-- Who may enter the console where there is no proxy that knows people: local accounts, who is logged in, and tries.

create table console_account (
    name text primary key,
    -- argon2id, with its parameters and salt (PHC string)
    hash text not null,
    role text not null check (role in ('viewer', 'operator', 'admin')),
    disabled boolean not null default false,
    made_at timestamptz not null default now(),
    password_at timestamptz not null default now(),
    login_at timestamptz
);

create table console_session (
    -- SHA-256 of the browser's token: who reads this table can't be anybody
    hash bytea primary key,
    account text not null references console_account on delete cascade,
    made_at timestamptz not null default now(),
    seen_at timestamptz not null default now()
);

create index console_session_account on console_session (account);

-- Tries to log in, for a quarter of an hour.
create table console_attempt (
    -- 'account NAME' or 'address ADDRESS'
    subject text not null,
    at timestamptz not null default now()
);

create index console_attempt_subject on console_attempt (subject, at);
