select
    number, system, data_type, resource, id, version, why, record, candidates, state, found_at,
    decision, external_id, decided_by, decided_at, reason
from duplicate_candidates
where state = 'open'
    and (%(system)s::text is null or system = %(system)s)
    and (%(data_type)s::text is null or data_type = %(data_type)s)
    and (%(resource)s::text is null or resource = %(resource)s)
order by found_at, number
