-- The peers' table, filled with rows of a real customer list's width (about 130 bytes).
-- Autovacuum is off: the harness vacuums between measurements, so that it never falls into one.
create table customers (
    id bigint primary key,
    name text not null,
    email text,
    phone text,
    address text,
    credit numeric(12, 2),
    updated_at timestamptz not null default now()
) with (autovacuum_enabled = false);

insert into customers (id, name, email, phone, address, credit)
select
    n,
    'Customer ' || n,
    case when n % 17 <> 0 then 'customer' || n || '@mail' || n % 97 || '.example' end,
    case when n % 5 <> 0 then '+44 20 7946 ' || lpad((n % 10000)::text, 4, '0') end,
    case when n % 11 <> 0 then n % 300 || ' Rowan Street, Mörfelden, D-' || lpad((n % 99999)::text, 5, '0') end,
    case when n % 7 <> 0 then (n % 1000000) / 100.0 end
from generate_series(1, %(rows)s) as n;
