update duplicate_merged set problem = %(problem)s
where system = %(system)s and data_type = %(data_type)s and resource = %(resource)s and external_id = %(external_id)s and state = 'due'
