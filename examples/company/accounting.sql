-- What accounting had before Sorbus came: its own list of debtors, with its own names and limits.
-- Sorbus fills it as it is (`existing: true` in the map) and keeps its own notes elsewhere.

create table debtors (
    debtor_no     text primary key,
    account_code  varchar(10) not null,
    name          varchar(60) not null,
    vat_no        varchar(20),
    invoice_email text,
    street        text,
    zip           varchar(12),
    town          text,
    country_code  char(2),
    currency      char(3) not null default 'EUR',
    payment_days  smallint not null default 30 check (payment_days between 0 and 180),
    credit_limit  numeric(14, 2),
    blocked       boolean not null default false,
    -- Bookkeepers' own columns, which no flow touches.
    dunning_level smallint not null default 0,
    bookkeeper    text
);
