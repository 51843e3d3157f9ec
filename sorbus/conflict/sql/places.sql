select system, data_type, field, count(*)
from conflict
where state = 'overwritten' and changed_at > now() - make_interval(days => %(days)s)
    and (%(system)s::text is null or system = %(system)s)
    and (%(data_type)s::text is null or data_type = %(data_type)s)
    and (%(resource)s::text is null or resource = %(resource)s)
group by system, data_type, field
order by count(*) desc, system, data_type, field
