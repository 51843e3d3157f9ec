-- Dead letters by cause: how many are open, how many of them are new, how many were closed.
select data_type, flow, system, reason, field,
       count(*) filter (where state in ('open', 'requeueing', 'requeued')) as open,
       count(*) filter (where state in ('open', 'requeueing', 'requeued') and first_at >= %(since)s) as new,
       count(*) filter (where state not in ('open', 'requeueing', 'requeued')) as closed,
       min(first_at) filter (where state in ('open', 'requeueing', 'requeued')) as oldest
  from letter
 where state in ('open', 'requeueing', 'requeued') or state in ('landed', 'superseded', 'discarded') and state_at >= %(since)s
 group by cause, data_type, flow, system, reason, field
 order by open desc, data_type, flow, reason, field
