-- A relation's columns in order, with their place in the primary key (0: not in it) and whether a value must be given.
select a.attname,
       a.atttypid::bigint,
       format_type(a.atttypid, a.atttypmod),
       t.typtype::text,
       t.typcategory::text,
       t.typelem::bigint,
       coalesce(array_position(i.indkey::smallint[], a.attnum) + 1, 0),
       a.attnotnull and not a.atthasdef and a.attidentity = '' and a.attgenerated = '',
       coalesce(nullif(t.typbasetype, 0), t.oid)::bigint,
       format_type(a.atttypid, -1)
from pg_attribute a
join pg_type t on t.oid = a.atttypid
left join pg_index i on i.indrelid = a.attrelid and i.indisprimary
where a.attrelid = %s and a.attnum > 0 and not a.attisdropped
order by a.attnum
