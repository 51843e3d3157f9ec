select id, decision, external_id
from duplicate_candidates
where system = %(system)s and data_type = %(data_type)s and resource = %(resource)s and id = any (%(ids)s) and state = 'decided'
