select system, data_type, id, external_id, resource
from crosswalk
where state = 'linked'
    and (%(system)s::text is null or system = %(system)s)
    and (%(data_type)s::text is null or data_type = %(data_type)s)
    and (%(external_id)s::text is null or external_id = %(external_id)s)
order by system, data_type, resource, id
