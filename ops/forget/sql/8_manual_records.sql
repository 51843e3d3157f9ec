delete from manual_record where data_type = %(data_type)s and id = %(id)s
