select flow, data_type, floor(extract(epoch from first_at))::float8
from letter
where first_at >= to_timestamp(%(since)s)
order by first_at desc
limit 1000000
