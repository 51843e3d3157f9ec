update conflict set sent = null, theirs = null, ours = null, reason = '',
    state = case when state in ('open', 'overwrite', 'keep') then 'over' else state end
where data_type = %(data_type)s and id = %(id)s
    and (sent is not null or theirs is not null or ours is not null or reason <> ''
        or state in ('open', 'overwrite', 'keep'))
