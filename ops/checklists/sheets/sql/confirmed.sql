select id, fields, target_number, check_again, sheet from manual_record where flow = %(flow)s
