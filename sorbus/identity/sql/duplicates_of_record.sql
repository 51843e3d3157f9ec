select
    number, system, data_type, resource, id, version, why, record, candidates, state, found_at,
    decision, external_id, decided_by, decided_at, reason
from duplicate_candidates
where data_type = %(data_type)s and id = %(id)s
order by found_at, number
