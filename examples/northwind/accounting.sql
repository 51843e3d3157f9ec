-- What accounting had before: its own list of debtors, with names and limits of its own.

create table debtors (
    debtor_no     text primary key,
    account_code  varchar(10) not null,
    name          varchar(60) not null,
    attention     text,
    street        text,
    zip           varchar(12) not null,
    town          text,
    country_code  char(2) not null,
    -- Bookkeepers' own columns, which no flow touches.
    dunning_level smallint not null default 0,
    bookkeeper    text
);
