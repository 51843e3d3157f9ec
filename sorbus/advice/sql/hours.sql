select activity, subject, data_type, floor(extract(epoch from began_at) / 3600)::bigint as hour,
       sum(case when activity = 'capture' then captured else created + updated + deleted + written end)::bigint
from flow_history
where began_at >= to_timestamp(%(since)s)
group by 1, 2, 3, 4
