delete from letter_assignment where id = any(%(ids)s)
