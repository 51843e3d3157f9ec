-- The tables that a publication streams, each with its membership and with what the publication leaves out of it.
-- The membership is another one when the table has left and come back, or the publication was made or set anew: first
-- the publication's part, then the table's own ("" where the publication names neither it nor its schema). Behind the @:
-- where its schema is named, another text when it has been moved to another schema.
-- The view shows what is there now, the catalog what was there when the transaction began to read: a table that the view
-- shows and nothing in the catalog explains has come back in between, and is left out until both agree.
-- (WHERE conditions and whole schemas are newer than the oldest server that we read from, so is what they are kept in.)
select
  t.schemaname || '.' || t.tablename as name,
  concat_ws('/', p.oid, p.xmin, coalesce(r.oid::text, schemas.oids || '@' || coalesce(place.xmin::text, ''))) as membership,
  concat_ws(
    ', ',
    case when not p.pubinsert then 'inserts' end,
    case when not p.pubupdate then 'updates' end,
    case when not p.pubdelete then 'deletes' end,
    case when not p.pubtruncate then 'truncates' end
  ) as lacking,
  to_jsonb(r) ->> 'prqual' is not null as is_filtered
from pg_publication p
join pg_publication_tables t on t.pubname = p.pubname
join pg_namespace n on n.nspname = t.schemaname
join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename
left join pg_publication_rel r on r.prpubid = p.oid and r.prrelid = c.oid
left join pg_depend place
  on place.classid = 'pg_class'::regclass and place.objid = c.oid and place.objsubid = 0
  and place.refclassid = 'pg_namespace'::regclass and place.refobjid = n.oid
cross join lateral (
  select 's' || string_agg(own.objid::text, '+' order by own.objid) as oids
  from pg_depend own
  join pg_depend named on named.classid = own.classid and named.objid = own.objid
  where own.classid = to_regclass('pg_catalog.pg_publication_namespace')
    and own.refclassid = 'pg_publication'::regclass and own.refobjid = p.oid
    and named.refclassid = 'pg_namespace'::regclass and named.refobjid = n.oid
) schemas
where p.pubname = %s
  and (
    p.puballtables
    or r.oid is not null
    or schemas.oids is not null
    or exists (
      select from pg_partition_ancestors(c.oid) up (oid)
      join pg_class above on above.oid = up.oid and above.oid <> c.oid
      where exists (select from pg_publication_rel named where named.prpubid = p.oid and named.prrelid = above.oid)
        or exists (
          select from pg_depend own
          join pg_depend named on named.classid = own.classid and named.objid = own.objid
          where own.classid = to_regclass('pg_catalog.pg_publication_namespace')
            and own.refclassid = 'pg_publication'::regclass and own.refobjid = p.oid
            and named.refclassid = 'pg_namespace'::regclass and named.refobjid = above.relnamespace
        )
    )
  )
