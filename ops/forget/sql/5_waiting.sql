-- Not a delete that waits itself: it is still to be delivered.
delete from waiting where data_type = %(data_type)s and key = %(key)s and flow <> all(%(held)s::text[])
