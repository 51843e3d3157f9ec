-- The tables that data types are kept in, each with its partitions and with the tables that inherit from it: the catalog
-- as it is just now. `linked` is another text when a table has left its parent and come back; `with_link`: it was made in
-- the transaction that linked it. `identity`: the columns that the old row of an update or a delete carries.
with recursive named (name, oid) as (
  select n.nspname || '.' || c.relname, c.oid
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where n.nspname || '.' || c.relname = any (%(names)s) and c.relkind not in ('i', 'I', 'S', 't', 'c')
),
family (name, oid, depth) as (
  select name, oid, 0 from named
  union
  select f.name, i.inhrelid, f.depth + 1 from family f join pg_inherits i on i.inhparent = f.oid
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
       c.relkind <> 'p' and exists (select from pg_inherits i where i.inhparent = c.oid)
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
