update letter set state = 'requeued', state_at = clock_timestamp()
where id = any(%(ids)s) and state = 'requeueing'
