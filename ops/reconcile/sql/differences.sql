select flow, id, kind, fields, why, first_seen, last_seen, healed_at, healed_by, closed_at, cause
from reconcile_difference
where (%(flow)s::text is null or flow = %(flow)s) and (%(closed)s or closed_at is null)
    and (%(id)s::text is null or id = %(id)s)
order by closed_at nulls first, flow, kind, id
limit %(most)s
