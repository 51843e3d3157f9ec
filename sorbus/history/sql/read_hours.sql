select activity, subject, data_type,
       extract(epoch from date_bin('1 hour', began_at, 'epoch'))::bigint / 3600 as hour,
       sum(captured + created + updated + linked + written + skipped + refused + deferred
           + case activity when 'delivery' then deleted else 0 end)::bigint
from flow_history
where began_at >= to_timestamp(%(since)s)
group by 1, 2, 3, 4
