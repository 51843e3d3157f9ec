update conflict set state = 'over', changed_at = now()
where system = %(system)s and data_type = %(data_type)s and resource = %(resource)s and id = %(id)s
    and state in ('open', 'overwrite', 'keep')
    and field <> all (%(but)s::text[])
