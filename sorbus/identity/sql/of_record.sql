select system, resource, state, coalesce(external_id, ''), version, linked_at, changed_at, intended_at
from crosswalk
where data_type = %(data_type)s and id = %(id)s
order by system, resource
