-- The files of some tables, their partitions and the tables that inherit from them: as the transaction's snapshot shows
-- the catalog, and as they are just now.
with recursive family (oid) as (
  select unnest(%s::oid[])
  union
  select i.inhrelid from family f join pg_inherits i on i.inhparent = f.oid
)
select c.oid::bigint, c.relfilenode::bigint, coalesce(pg_relation_filenode(c.oid), 0)::bigint
from family f
join pg_class c on c.oid = f.oid
where c.relkind not in ('p', 'f')
