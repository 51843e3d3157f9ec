-- Who holds a transaction (its 32-bit xid) open, since when, and the cure. Any role sees locks and prepared
-- transactions; of other roles' sessions it may see no more than their user.
select format('prepared transaction %%L of %%s in %%s, prepared %%s; commit prepared or rollback prepared %%L', gid, owner,
    database, date_trunc('second', prepared), gid)
from pg_prepared_xacts where transaction = %(xid)s::text::xid
union all
select format('pid %%s of %%s in %%s%%s, open since %%s, its last query since %%s (%%s); end it, or: select'
    ' pg_terminate_backend(%%s)', a.pid, a.usename, a.datname, ' (' || nullif(a.application_name, '') || ')',
    coalesce(date_trunc('second', a.xact_start)::text, '?'), coalesce(date_trunc('second', a.query_start)::text, '?'),
    coalesce(a.state, '?'), a.pid)
from pg_locks l join pg_stat_activity a using (pid)
where l.locktype = 'transactionid' and l.mode = 'ExclusiveLock' and l.granted and l.transactionid = %(xid)s::text::xid
limit 1
