-- The tables a person would think of as data, with an estimate of their rows (null: never counted) and the tables they
-- refer to.
select n.nspname || '.' || c.relname,
       c.oid::bigint,
       nullif(c.reltuples, -1)::bigint,
       coalesce((
         select json_agg(json_build_array(
                  fn.nspname || '.' || f.relname,
                  (select json_agg(a.attname order by k.place) from unnest(k.conkey) with ordinality as k (num, place)
                   join pg_attribute a on a.attrelid = c.oid and a.attnum = k.num)) order by k.oid)
         from pg_constraint k
         join pg_class f on f.oid = k.confrelid
         join pg_namespace fn on fn.oid = f.relnamespace
         where k.conrelid = c.oid and k.contype = 'f'), '[]'::json)
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and not c.relispartition and n.nspname not like 'pg\_%%' and n.nspname <> 'information_schema'
  and c.relname not like 'sorbus\_%%'
order by 1
