select 1 from digest_sent where address = %(address)s and due = %(due)s
