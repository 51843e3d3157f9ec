-- The copy of a slot on a standby: null where there is none, else what this version says of it. (As JSON: versions differ.)
select
  pg_is_in_recovery(),
  (select to_jsonb(s) from pg_replication_slots s where slot_name = %s),
  coalesce(current_setting('sync_replication_slots', true), 'off'),
  coalesce(current_setting('hot_standby_feedback', true), 'off')
