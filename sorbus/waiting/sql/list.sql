select flow, key, version, data_type, system, why, needs, message, since, until
  from waiting
 where (%(flow)s::text is null or flow = %(flow)s) and (%(why)s::text is null or why = %(why)s)
 order by since, flow, key
 limit %(most)s
