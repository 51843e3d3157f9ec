-- The tables that data types are kept in, each with its partitions and with the tables that inherit from it: the catalog
-- as it is just now. `linked` is another text when a table has left its parent and come back; `with_link`: it was made in
-- the transaction that linked it. `above`: the partitions that it is a partition of. `identity`: the columns that the old
-- row of an update or a delete carries. Last, a digest of what the server computes, which may be something else in a table
-- that inherits.
with recursive named (name, oid) as (
  select n.nspname || '.' || c.relname, c.oid
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where n.nspname || '.' || c.relname = any (%(names)s) and c.relkind not in ('i', 'I', 'S', 't', 'c')
),
family (name, oid, depth, above) as (
  select name, oid, 0, '{}'::bigint[] from named
  union
  select f.name, i.inhrelid, f.depth + 1, case when f.depth = 0 then '{}' else f.above || f.oid::bigint end
  from family f join pg_inherits i on i.inhparent = f.oid
)
select f.name,
       c.oid::bigint,
       n.nspname || '.' || c.relname,
       c.relkind::text,
       c.relpersistence::text,
       case when min(f.depth) = 0 then '' when c.relispartition then 'partition' else 'inherits' end,
       c.relispartition,
       c.relfilenode::bigint,
       c.xmin::text,
       coalesce(links.xmins, ''),
       coalesce(links.xmins = t.xmin::text, false),
       min(f.above),
       c.relreplident::text,
       array(
         select a.attname::text
         from pg_index x
         join pg_attribute a on a.attrelid = x.indrelid and a.attnum = any (x.indkey)
         where x.indrelid = c.oid and x.indisvalid and x.indimmediate
           and (c.relreplident = 'i' and x.indisreplident or c.relreplident = 'd' and x.indisprimary)
         order by 1
       ),
       has_table_privilege(c.oid, 'select'),
       c.relkind <> 'p' and exists (select from pg_inherits i where i.inhparent = c.oid),
       coalesce((
         select md5(string_agg(concat_ws('.', a.attnum, pg_get_expr(d.adbin, d.adrelid)), ',' order by a.attnum))
         from pg_attribute a
         join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
         where a.attrelid = c.oid and a.attgenerated <> '' and not c.relispartition
       ), '')
from family f
join pg_class c on c.oid = f.oid
join pg_namespace n on n.oid = c.relnamespace
left join pg_type t on t.oid = c.reltype
cross join lateral (
  select string_agg(i.xmin::text, '+' order by i.inhparent) as xmins from pg_inherits i where i.inhrelid = c.oid
) links
group by f.name, c.oid, n.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.relispartition, c.relfilenode, c.xmin,
         links.xmins, t.xmin, c.relreplident
order by 1, 2
