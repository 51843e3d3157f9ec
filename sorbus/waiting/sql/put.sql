-- A newer version replaces the one that waits, an older one changes nothing. The clock runs on while the cause is the same.
-- None has waited since a time to come: this server's clock was ahead. What was taken, and is only put back, stays away where another process has delivered a newer version meanwhile.
insert into waiting as w (flow, key, version, data_type, system, why, needs, message, frame, header_names,
                          header_values, topic, partition, "offset", since, until, next_at)
select %(flow)s, %(key)s, %(version)s, %(data_type)s, %(system)s, %(why)s, %(needs)s, %(message)s, %(frame)s,
        %(header_names)s::text[], %(header_values)s::bytea[], %(topic)s, %(partition)s, %(offset)s, now(),
        now() + make_interval(secs => %(limit)s), now() + make_interval(secs => %(pause)s)
 where not %(was_taken)s or exists (select from waiting where flow = %(flow)s and key = %(key)s for update)
on conflict (flow, key) do update
   set version = excluded.version, system = excluded.system, why = excluded.why, needs = excluded.needs,
       message = excluded.message, frame = excluded.frame, header_names = excluded.header_names,
       header_values = excluded.header_values, topic = excluded.topic, partition = excluded.partition, "offset" = excluded."offset",
       since = case when w.why = excluded.why then least(w.since, excluded.since) else excluded.since end,
       until = greatest(
           case when w.why = excluded.why then least(w.since, excluded.since) else excluded.since end
               + (excluded.until - excluded.since),
           now() + make_interval(secs => %(least)s)
       ),
       next_at = now() + least(%(most_pause)s, greatest(%(pause)s, extract(epoch from now() - w.since) / 2))
                         * interval '1 s'
 where w.version <= excluded.version
