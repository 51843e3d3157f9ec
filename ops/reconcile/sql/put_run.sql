insert into reconcile_run
    (flow, method, started_at, finished_at, owner_records, target_records, compared, rows_fetched, bytes_scanned,
     counts, in_flight, undecided, not_compared, from_topic, offsets, coverage)
values
    (%(flow)s, %(method)s, %(started_at)s, %(finished_at)s, %(owner_records)s, %(target_records)s, %(compared)s,
     %(rows_fetched)s, %(bytes_scanned)s, %(counts)s, %(in_flight)s, %(undecided)s, %(not_compared)s, %(from_topic)s, %(offsets)s, %(coverage)s)
returning number
