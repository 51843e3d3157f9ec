update letter set state = 'requeueing', state_at = clock_timestamp() where id = any(%(ids)s)
