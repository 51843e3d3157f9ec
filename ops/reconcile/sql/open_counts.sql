select flow, kind, count(*) from reconcile_difference where closed_at is null group by 1, 2
