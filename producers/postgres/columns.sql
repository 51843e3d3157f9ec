-- What decides how a table's stored rows read as text: its columns (place, type, what the server computes, attributes of
-- composite types below the column's type; the row of the catalog; whether old rows get their value from the catalog), then
-- the labels of enumerated types below each column's type.
with recursive columns as (
  select a.attrelid, a.attname, a.attnum, a.atttypid, a.xmin, a.atthasmissing, a.attgenerated
  from pg_attribute a
  where a.attrelid = any (%(oids)s) and a.attnum > 0 and not a.attisdropped
),
reached (relation, name, type) as (
  select attrelid, attname, atttypid from columns
  union
  select r.relation, r.name, below.type
  from reached r
  join pg_type t on t.oid = r.type
  cross join lateral (
    select t.typbasetype as type
    union all select t.typelem
    union all select g.rngsubtype from pg_range g where g.rngtypid = t.oid or g.rngmultitypid = t.oid
    union all select a.atttypid from pg_attribute a where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
  ) below
  where below.type <> 0
)
select c.attrelid::bigint,
       c.attname::text,
       concat_ws(
         '.', c.attnum, c.atttypid, case when c.attgenerated <> '' then md5(pg_get_expr(d.adbin, d.adrelid)) end,
         (
           select md5(string_agg(concat_ws('.', r.type, a.attnum, a.atttypid), ',' order by r.type, a.attnum))
           from reached r
           join pg_type t on t.oid = r.type
           join pg_attribute a on a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
           where r.relation = c.attrelid and r.name = c.attname
         )
       ),
       c.xmin::text,
       c.atthasmissing,
       coalesce((
         select json_object_agg(enumtypid, labels)
         from (
           select e.enumtypid, json_agg(e.enumlabel order by e.oid) as labels
           from reached r
           join pg_enum e on e.enumtypid = r.type
           where r.relation = c.attrelid and r.name = c.attname
           group by 1
         ) found
       ), '{}'::json)
from columns c
left join pg_attrdef d on d.adrelid = c.attrelid and d.adnum = c.attnum
