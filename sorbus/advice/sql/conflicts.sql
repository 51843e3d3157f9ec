select flow, extract(epoch from found_at)::float8
from conflict
where found_at >= to_timestamp(%(since)s)
