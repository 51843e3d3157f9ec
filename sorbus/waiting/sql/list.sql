select flow, key, version, data_type, system, why, needs, message, since, until
  from waiting
 where (%(flow)s::text is null or flow = %(flow)s) and (%(why)s::text is null or why = %(why)s)
   and (%(after)s::timestamptz is null or (since, flow, key) > (%(after)s, %(after_flow)s, %(after_key)s))
 order by since, flow, key
 limit %(most)s
