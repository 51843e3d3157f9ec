select data_type, extract(epoch from date_bin(make_interval(secs => %(width)s), began_at, 'epoch'))::float8 as began,
       sum(captured)::bigint, sum(created)::bigint, sum(updated)::bigint, sum(linked)::bigint, sum(deleted)::bigint,
       sum(written)::bigint, sum(skipped)::bigint, sum(refused)::bigint, sum(deferred)::bigint,
       sum(filtered)::bigint, sum(bytes)::bigint, sum(seconds)::float8
from flow_history
where activity = %(activity)s and subject = %(subject)s and began_at >= to_timestamp(%(since)s)
group by 1, 2
order by 2, 1
