-- Browsers that somebody has logged in with: wrong tries made elsewhere don't keep them out (OWASP: device cookies).

create table console_device (
    -- SHA-256 of the browser's token
    hash bytea primary key,
    account text not null references console_account on delete cascade,
    made_at timestamptz not null default now()
);

create index console_device_account on console_device (account);
