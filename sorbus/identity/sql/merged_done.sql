update duplicate_merged set state = 'done', done_at = now(), done_by = %(who)s, problem = ''
where system = %(system)s and data_type = %(data_type)s and resource = %(resource)s and external_id = %(external_id)s and state = 'due'
returning external_id
