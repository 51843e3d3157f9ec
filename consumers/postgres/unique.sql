-- A table's unique indexes and exclusion constraints: the columns they are about (also by way of an expression or of a
-- generated column), which of these they hold as they are, which are never null, and whether nulls collide.
with used (index, relation, attnum, is_direct) as (
    select i.indexrelid, i.indrelid, k.attnum, a.attgenerated = ''
      from pg_index i, unnest((i.indkey::smallint[])[0:i.indnkeyatts - 1]) k (attnum), pg_attribute a
     where i.indrelid = %(table)s and (a.attrelid, a.attnum) = (i.indrelid, k.attnum) and k.attnum > 0
     union
    select i.indexrelid, i.indrelid, d.refobjsubid::smallint, false
      from pg_index i
      join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
                      and d.refclassid = 'pg_class'::regclass and d.refobjid = i.indrelid and d.refobjsubid > 0
     where i.indrelid = %(table)s
), sources (index, relation, attnum, is_direct) as (
    select * from used
     union
    select u.index, u.relation, g.refobjsubid::smallint, false
      from used u
      join pg_attribute a on (a.attrelid, a.attnum) = (u.relation, u.attnum) and a.attgenerated <> ''
      join pg_attrdef f on (f.adrelid, f.adnum) = (a.attrelid, a.attnum)
      join pg_depend g on g.classid = 'pg_attrdef'::regclass and g.objid = f.oid and g.refobjid = u.relation
                      and g.refobjsubid > 0 and g.refobjsubid <> u.attnum
), columns as (
    select s.index, a.attname::text as name, bool_or(s.is_direct) as is_direct,
           bool_or(a.attnotnull or y.typnotnull) as never_null
      from sources s
      join pg_attribute a on (a.attrelid, a.attnum) = (s.relation, s.attnum) and a.attgenerated = ''
      join pg_type y on y.oid = a.atttypid
     group by s.index, a.attname
)
select array_agg(c.name order by c.name),
       coalesce(array_agg(c.name) filter (where c.is_direct), '{}'),
       coalesce(array_agg(c.name) filter (where c.never_null), '{}'),
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false) and not i.indisexclusion
  from pg_index i
  join columns c on c.index = i.indexrelid
 where i.indrelid = %(table)s and (i.indisunique or i.indisexclusion) and i.indislive
 group by i.indexrelid, i.indisexclusion, to_jsonb(i)
