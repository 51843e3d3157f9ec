select number, flow, method, started_at, finished_at, owner_records, target_records, compared, rows_fetched,
       bytes_scanned, counts, in_flight, undecided, not_compared, from_topic, offsets, coverage
from reconcile_run
where (%(flow)s::text is null or flow = %(flow)s) and (%(whole)s is false or method <> 'changed')
order by number desc
limit %(most)s
