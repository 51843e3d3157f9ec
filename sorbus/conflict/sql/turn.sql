update conflict set state = %(state)s, changed_at = now() where number = any (%(numbers)s::bigint[])
