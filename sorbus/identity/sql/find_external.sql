-- Whose these records are: of this data type, and where they aren't shared of any.
select external_id, data_type, id
from crosswalk
where system = %(system)s and resource = %(resource)s and external_id = any (%(ids)s) and state = 'linked'
    and (data_type = %(data_type)s or not shared and not %(shared)s)
order by data_type <> %(data_type)s, data_type, id
