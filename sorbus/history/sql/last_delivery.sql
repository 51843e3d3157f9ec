select extract(epoch from began_at)::float8, extract(epoch from ended_at)::float8
from flow_history
where activity = 'delivery' and subject = %(flow)s and data_type = %(data_type)s
order by ended_at desc
limit 1
