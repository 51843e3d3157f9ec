select
    (select count(*) from crosswalk where system = %(system)s and data_type = %(data_type)s and resource = '')
    + (select count(*) from duplicate_candidates
       where system = %(system)s and data_type = %(data_type)s and resource = '' and state <> 'done')
    + (select count(*) from conflict
       where system = %(system)s and data_type = %(data_type)s and resource = '' and state in ('open', 'overwrite', 'keep'))
