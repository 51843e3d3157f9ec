select flow, need ->> 0 as field, count(*), min(since)
  from waiting, jsonb_array_elements(needs) need
 where why = 'incomplete'
 group by flow, field
 order by count(*) desc, flow, field
