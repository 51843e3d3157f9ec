select external_id from duplicate_apart
where system = %(system)s and data_type = %(data_type)s and resource = %(resource)s and id = %(id)s and external_id = any (%(ids)s)
union
select external_id from duplicate_merged
where system = %(system)s and resource = %(resource)s and external_id = any (%(ids)s)
