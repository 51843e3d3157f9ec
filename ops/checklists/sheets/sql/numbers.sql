select target_number, id from manual_record
 where flow = %(flow)s and target_number = any(%(numbers)s) and target_number <> '' and fields is not null
