select
    number, system, data_type, resource, id, flow, external_id, field, version, sent::text, theirs::text, ours::text, state,
    found_at, changed_at, decided_at, decided_by, reason, in_turn_with
from conflict
where state = any (%(states)s::text[])
    and (%(system)s::text is null or system = %(system)s)
    and (%(data_type)s::text is null or data_type = %(data_type)s)
    and (%(resource)s::text is null or resource = %(resource)s)
    and (%(id)s::text is null or id = %(id)s)
    and number < %(before)s
order by number desc
limit %(most)s
