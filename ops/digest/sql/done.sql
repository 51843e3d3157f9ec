select max(due) from digest_sent where address = %(address)s
