update reconcile_difference
set healed_at = now(), healed_by = %(who)s
where flow = %(flow)s and closed_at is null and id = any(%(ids)s::text[])
