select number, system, data_type, resource, field, what, was, now, severity, renamed, example, mapping, count,
       first_seen, last_seen, state, settled_at, settled_by, reason
  from drift_finding
 where (%(system)s::text is null or system = %(system)s) and (%(all)s or state = 'open')
 order by state, severity = 'info', first_seen, number
