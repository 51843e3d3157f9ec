-- What decides how the old rows of some relations can be told apart: computed columns (which REPLICA IDENTITY FULL must
-- not hold unpublished), other publications that name columns (which FULL breaks), and the indexes that may serve.
select c.oid::bigint,
       exists (select from pg_attribute a where a.attrelid = c.oid and a.attgenerated <> '' and not a.attisdropped),
       array(
         select p.pubname::text
         from pg_publication_rel r
         join pg_publication p on p.oid = r.prpubid
         where to_jsonb(r) ->> 'prattrs' is not null and p.pubname <> %(publication)s
           and (r.prrelid = c.oid or r.prrelid in (select relid from pg_partition_ancestors(c.oid)))
         order by 1
       ),
       coalesce((
         select json_agg(json_build_array(ic.relname, x.indisprimary, columns.names) order by x.indisprimary desc, ic.relname)
         from pg_index x
         join pg_class ic on ic.oid = x.indexrelid
         cross join lateral (
           select json_agg(a.attname) as names, bool_and(a.attnotnull and a.attgenerated = '') as fit
           from pg_attribute a
           where a.attrelid = x.indrelid and a.attnum = any ((x.indkey::smallint[])[0:x.indnkeyatts - 1])
         ) as columns
         where x.indrelid = c.oid and x.indisunique and x.indimmediate and x.indisvalid and x.indpred is null
           and x.indexprs is null and columns.fit
       ), '[]'::json)
from pg_class c
where c.oid = any (%(oids)s)
