delete from crosswalk
where system = %(system)s and data_type = %(data_type)s and resource = %(resource)s and id = %(id)s
returning external_id
