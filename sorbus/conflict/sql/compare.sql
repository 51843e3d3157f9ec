update conflict as again set
    state = 'over', changed_at = now(), decided_at = now(), decided_by = %(who)s, reason = %(reason)s
from conflict as named
where named.number = %(number)s and named.state = 'rewritten' and again.state = 'rewritten'
    and (again.system, again.data_type, again.resource, again.field)
        = (named.system, named.data_type, named.resource, named.field)
returning again.number
