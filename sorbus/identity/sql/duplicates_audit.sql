select at, who, decision, external_id, reason
from duplicate_decisions
where candidate = %(number)s
order by at
