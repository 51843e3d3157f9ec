select flow, system, frame from waiting where data_type = %(data_type)s and key = %(key)s
