select system, external_id, candidate from duplicate_merged
where data_type = %(data_type)s and id = %(id)s and state = 'due'
order by system, external_id
