update letter set state = 'requeueing', state_at = clock_timestamp()
where id = any(%(ids)s) and state in ('open', 'requeueing', 'requeued')
returning id
