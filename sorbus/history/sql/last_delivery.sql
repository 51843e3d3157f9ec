select extract(epoch from max(ended_at))::float8
from flow_history
where activity = 'delivery' and subject = %(flow)s and data_type = %(data_type)s
