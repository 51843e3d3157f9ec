-- The records of this data type that are these, or were until they were deleted and nobody else became them.
select external_id, id
from crosswalk
where system = %(system)s and resource = %(resource)s and data_type = %(data_type)s and external_id = any (%(ids)s)
    and state = 'linked'
union all
select external_id, id
from crosswalk as c
where system = %(system)s and resource = %(resource)s and data_type = %(data_type)s and external_id = any (%(ids)s)
    and state = 'gone' and not exists (
        select
        from crosswalk as o
        where o.system = c.system and o.resource = c.resource and o.external_id = c.external_id and o.state = 'linked'
    )
