-- One number for a whole customer table, whatever its column types; equal tables have equal numbers.
select count(*), coalesce(sum(hashtextextended(concat_ws(
    '|', id, name, coalesce(email, '~'), coalesce(phone, '~'), coalesce(address, '~'),
    coalesce(credit::numeric(12, 2)::text, '~'), extract(epoch from updated_at::timestamptz)
), 0)), 0)
from {table}
