select external_id, id
from crosswalk
where system = %(system)s and data_type = %(data_type)s and external_id = any (%(ids)s) and state = 'linked'
