select system, data_type, state, count(*)
from conflict
where state = 'open' or state = 'overwritten' and changed_at > now() - interval '1 day'
group by system, data_type, state
