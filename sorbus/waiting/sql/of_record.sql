select flow, key, version, data_type, system, why, needs, message, since, until
  from waiting
 where data_type = %(data_type)s and key = %(key)s
 order by since, flow
