select system, data_type, count(*)
from duplicate_candidates
where state = 'open'
group by system, data_type
