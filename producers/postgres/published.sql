-- The tables that a publication streams, each with its membership and with what the publication leaves out of it.
-- The membership is another one when the table has left and come back, or the publication was made or set anew.
-- (WHERE conditions are newer than the oldest server that we read from, and so is their column.)
select
  t.schemaname || '.' || t.tablename as name,
  concat_ws('/', p.oid, p.xmin, r.oid) as membership,
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
left join pg_publication_rel r
  on r.prpubid = p.oid and r.prrelid = format('%%I.%%I', t.schemaname, t.tablename)::regclass
where p.pubname = %s
