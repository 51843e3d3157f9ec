select system, resource, state, coalesce(external_id, '') from crosswalk
where data_type = %(data_type)s and id = %(id)s and state <> 'gone'
order by system, resource
