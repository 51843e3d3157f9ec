-- Of a type: how its domains (or those of an array's elements) are declared where that is with a length, and the
-- attributes of a composite type, at any depth, that are declared with one.
with recursive below (oid, path) as (
  select %(type)s::oid, null::text collate "C"
  union
  select x.oid, x.path
  from below b
  join pg_type t on t.oid = b.oid
  cross join lateral (
    select t.typbasetype, b.path where t.typtype = 'd'
    union all
    select t.typelem, b.path where t.typsubscript = 'array_subscript_handler'::regproc and t.typlen = -1
    union all
    select a.atttypid, concat_ws('.', b.path, a.attname) collate "C"
    from pg_attribute a where a.attrelid = t.typrelid and t.typtype = 'c' and a.attnum > 0 and not a.attisdropped
  ) as x (oid, path)
)
select (select format_type(t.typbasetype, t.typtypmod) from below b join pg_type t on t.oid = b.oid
        where b.path is null and t.typtype = 'd' and t.typtypmod <> -1 limit 1),
       (select string_agg(concat_ws('.', b.path, a.attname), ', ' order by b.path, a.attnum)
        from below b
        join pg_type t on t.oid = b.oid and t.typtype = 'c'
        join pg_attribute a on a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped and a.atttypmod <> -1)
