update waiting
   set woken = true, next_at = now()
 where flow = %(flow)s and (%(key)s::bytea is null or key = %(key)s)
returning key
