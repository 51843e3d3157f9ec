-- By place and loop: how many fields wait, since when the oldest does, and one of the records.
select system, data_type, field, in_turn_with, count(*), extract(epoch from min(found_at))::float8, min(id)
from conflict
where state = 'open'
group by system, data_type, field, in_turn_with
order by system, data_type, field, in_turn_with nulls first
