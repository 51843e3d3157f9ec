select
    system, data_type, resource, external_id, survivor, id, candidate, way, state, who, at, done_at, done_by, problem
from duplicate_merged
where (%(all)s or state = 'due')
    and (%(candidate)s::bigint is null or candidate = %(candidate)s)
    and (%(system)s::text is null or system = %(system)s)
    and (%(data_type)s::text is null or data_type = %(data_type)s)
    and (%(resource)s::text is null or resource = %(resource)s)
order by state = 'done', at, external_id
