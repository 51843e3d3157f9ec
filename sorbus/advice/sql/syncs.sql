select subject, extract(epoch from at)::float8
from audit
where subject_kind = 'flow' and action = 'sync' and at >= to_timestamp(%(since)s)
