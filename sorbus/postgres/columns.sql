-- A relation's columns in order, with their place in the primary key (0: not in it), whether a value must be given, and
-- what is below their domains (also those of an array's elements): the type itself, the type of an array's elements,
-- and what separates these.
with recursive below (oid, base) as (
  select t.oid, t.oid from pg_type t
  where t.oid in (select atttypid from pg_attribute where attrelid = %s and attnum > 0 and not attisdropped)
  union
  select x.oid, x.base
  from below b
  join pg_type t on t.oid = b.base
  cross join lateral (
    select b.oid, t.typbasetype where t.typtype = 'd'
    union all
    select t.typelem, t.typelem where t.typsubscript = 'array_subscript_handler'::regproc and t.typlen = -1
  ) as x (oid, base)
),
bases as (select b.oid, b.base from below b join pg_type t on t.oid = b.base where t.typtype <> 'd')
select a.attname,
       a.atttypid::bigint,
       format_type(a.atttypid, a.atttypmod),
       t.typtype::text,
       t.typcategory::text,
       coalesce(e.base, 0)::bigint,
       coalesce(array_position(i.indkey::smallint[], a.attnum) + 1, 0),
       a.attnotnull and not a.atthasdef and a.attidentity = '' and a.attgenerated = '',
       b.base::bigint,
       format_type(a.atttypid, -1),
       not a.attnotnull,
       coalesce(et.typdelim, ',')::text,
       format_type(case when et.typtype = 'd' then coalesce(nullif(eb.typarray, 0), b.base) else b.base end, -1)
from pg_attribute a
join pg_type t on t.oid = a.atttypid
join bases b on b.oid = a.atttypid
join pg_type bt on bt.oid = b.base
left join pg_type et on et.oid = bt.typelem and et.typarray = bt.oid
left join bases e on e.oid = et.oid
left join pg_type eb on eb.oid = e.base
left join pg_index i on i.indrelid = a.attrelid and i.indisprimary
where a.attrelid = %s and a.attnum > 0 and not a.attisdropped
order by a.attnum
