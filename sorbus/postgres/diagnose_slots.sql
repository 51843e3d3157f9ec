-- The replication slots of this server, whoever made them, and how many bytes of the log each keeps.
select slot_name, active, coalesce(wal_status, 'reserved'),
       coalesce(pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end,
                                restart_lsn), 0)::bigint,
       current_setting('max_slot_wal_keep_size')
from pg_replication_slots
order by slot_name
