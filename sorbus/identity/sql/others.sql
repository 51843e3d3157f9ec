-- Some of the other records that are linked, those first that landed last.
select external_id
from crosswalk
where system = %(system)s and resource = %(resource)s and data_type = %(data_type)s and state = 'linked'
    and external_id <> %(external_id)s
order by changed_at desc
limit %(most)s
