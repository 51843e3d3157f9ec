delete from waiting where data_type = %(data_type)s and key = %(key)s returning flow
