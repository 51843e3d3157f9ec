-- Those that may go on now: what they need is there, their time is up, or somebody woke them. Nobody else takes them
-- for a while. Of those whose need can't be seen all are taken when one is: they may need each other; those whose turn
-- it is come first, so that many which have to wait longer keep no other back. None waits for longer than half a minute:
-- of what is later, this server's clock was ahead when it was written.
with due as (
    select w.flow, w.key
      from waiting w
     where w.flow = %(flow)s
       and (w.next_at <= now() or w.next_at > now() + interval '2 minutes' or w.needs = '[]' and exists (
                select from waiting x where x.flow = w.flow and x.needs = '[]' and x.next_at <= now()))
       and (w.woken
            or w.until <= now()
            or w.why = 'reference'
               and not exists (
                   select from jsonb_array_elements(w.needs) need
                    where not exists (
                        select from crosswalk c
                         where (c.system, c.data_type, c.id, c.state)
                               = (w.system, need ->> 0, need ->> 1, 'linked')
                           -- those from before links were of a resource name none
                           and c.resource = coalesce(need ->> 2, c.resource))))
     order by w.next_at, w.since
     limit %(most)s
       for update skip locked
)
update waiting w
   set woken = false, next_at = now() + make_interval(secs => %(lease)s)
  from due
 where (w.flow, w.key) = (due.flow, due.key)
returning w.key, w.version, w.frame, w.header_names, w.header_values, w.topic, w.partition, w."offset", w.since,
          coalesce(w.until <= now(), false)
