update conflict set
    state = %(choice)s, changed_at = now(), decided_at = now(), decided_by = %(who)s, reason = %(reason)s
where number = %(number)s and state in ('open', 'overwrite', 'keep')
    and (%(changed_at)s::timestamptz is null or changed_at = %(changed_at)s)
returning number
