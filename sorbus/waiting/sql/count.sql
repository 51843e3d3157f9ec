insert into deferral as d (flow, partition, count)
select %(flow)s, given.partition, given.count from unnest(%(partitions)s::integer[], %(counts)s::bigint[]) as given (partition, count)
on conflict (flow, partition) do update set count = greatest(d.count + 1, excluded.count)
returning partition, count
