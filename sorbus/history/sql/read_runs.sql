select run, instance, extract(epoch from began_at)::float8, extract(epoch from seen_at)::float8, state
from flow_run
where activity = %(activity)s and subject = %(subject)s and seen_at >= to_timestamp(%(since)s)
order by began_at
