select id, external_id, version, state, key, sent::text, extract(epoch from clock_timestamp() - intended_at)::float8,
       sending::text, extract(epoch from clock_timestamp() - accepted_at)::float8, accepted_as
from crosswalk
where system = %(system)s and data_type = %(data_type)s and resource = %(resource)s and id = any (%(ids)s)
