insert into drift_finding (system, data_type, resource, field, what, was, now, severity, renamed, example, mapping,
                           count, first_seen, last_seen, ids)
values (%(system)s, %(data_type)s, %(resource)s, %(field)s, %(what)s, %(was)s, %(now)s, %(severity)s, %(renamed)s,
        %(example)s, %(mapping)s, %(count)s, to_timestamp(%(first_seen)s), to_timestamp(%(last_seen)s), %(ids)s)
on conflict (system, data_type, resource, field, what) where state = 'open'
do update set was = excluded.was, now = excluded.now, severity = excluded.severity, renamed = excluded.renamed,
              example = case drift_finding.example when '' then excluded.example else drift_finding.example end,
              ids = excluded.ids, count = excluded.count, last_seen = excluded.last_seen
returning number
