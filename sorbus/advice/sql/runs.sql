select activity, subject, extract(epoch from began_at)::float8, extract(epoch from seen_at)::float8, state = 'crashed'
from flow_run
where seen_at >= to_timestamp(%(since)s)
