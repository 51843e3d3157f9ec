select distinct id
from conflict
where state in ('open', 'overwrite', 'keep') and id = any (%(ids)s::text[])
    and (%(system)s::text is null or system = %(system)s)
    and (%(data_type)s::text is null or data_type = %(data_type)s)
    and (%(resource)s::text is null or resource = %(resource)s)
