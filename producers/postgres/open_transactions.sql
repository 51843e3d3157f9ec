-- The oldest transaction (64-bit xid) that is open, but for those of the server's other databases, which write nothing
-- here: their locks show them (on a standby there are none); else the next one to begin.
with now as materialized (select pg_current_snapshot() as shown),
elsewhere as (
    select l.transactionid from pg_locks l join pg_stat_activity a using (pid)
    where l.locktype = 'transactionid' and l.mode = 'ExclusiveLock' and l.granted and a.datname <> current_database()
    union all
    select transaction from pg_prepared_xacts where database <> current_database()
)
select coalesce((
    select open::text from now, pg_snapshot_xip(shown) open
    where open::xid not in (select transactionid from elsewhere) order by open limit 1
), pg_snapshot_xmax(shown)::text) from now
