update letter_position set next = %(next)s, read_at = clock_timestamp()
where topic = %(topic)s and partition = %(partition)s
