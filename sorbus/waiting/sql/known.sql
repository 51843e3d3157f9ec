select w.key, w.version
  from waiting w, unnest(%(keys)s::bytea[], %(versions)s::bigint[]) as done (key, version)
 where w.flow = %(flow)s and w.key = done.key and w.version <= done.version
