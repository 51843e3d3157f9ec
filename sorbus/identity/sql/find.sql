select id, external_id, version, state, key, sent::text, intended_at, sending::text, accepted_at, accepted_as
from crosswalk
where system = %(system)s and data_type = %(data_type)s and resource = %(resource)s and id = any (%(ids)s)
