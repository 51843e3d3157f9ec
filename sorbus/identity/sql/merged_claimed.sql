-- Whose these records are: linked by now, or chosen for another record by a decision that is yet to be delivered.
select external_id, data_type, id
from crosswalk
where system = %(system)s and resource = %(resource)s and external_id = any (%(external_ids)s)
    and state = 'linked'
union
select external_id, data_type, id
from duplicate_candidates
where system = %(system)s and resource = %(resource)s and external_id = any (%(external_ids)s)
    and state = 'decided' and number <> %(candidate)s
order by external_id, data_type, id
