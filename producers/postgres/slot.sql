-- A replication slot, whoever made it. (What newer servers say of a slot is read as JSON: older ones have no such column.)
select
  active_pid,
  confirmed_flush_lsn::text,
  coalesce(wal_status, 'reserved'),
  coalesce(pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end,
                           confirmed_flush_lsn), 0)::bigint,
  coalesce(to_jsonb(s) ->> 'invalidation_reason', case when (to_jsonb(s) ->> 'conflicting')::boolean then 'conflict' end, ''),
  case
    when slot_type <> 'logical' then 'is for physical replication'
    when plugin <> 'pgoutput' then 'uses the plugin ' || plugin
    when database <> current_database() then 'belongs to the database ' || database
    when temporary then 'is temporary'
    else ''
  end
from pg_replication_slots s
where slot_name = %s
