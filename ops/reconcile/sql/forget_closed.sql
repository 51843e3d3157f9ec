delete from reconcile_difference where closed_at < now() - interval '1 year'
