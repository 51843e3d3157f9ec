select number, field, state, theirs::text, ours::text
from conflict
where system = %(system)s and data_type = %(data_type)s and resource = %(resource)s
    and (id = %(id)s and state in ('open', 'overwrite', 'keep') or state = 'rewritten')
