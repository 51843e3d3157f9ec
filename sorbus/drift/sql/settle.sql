update drift_finding set state = 'settled', settled_at = now(), settled_by = %(who)s, reason = %(reason)s
 where number = %(number)s and state = 'open'
returning system, resource, field, what, now
