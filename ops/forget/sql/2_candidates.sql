update duplicate_candidates set record = '{}', candidates = '[]', why = '', reason = null, state = 'done'
where data_type = %(data_type)s and id = %(id)s
    and (record::text <> '{}' or candidates::text <> '[]' or why <> '' or reason is not null or state <> 'done')
