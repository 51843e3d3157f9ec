-- The problem of one that is due and belongs to another record by now (see merged_claimed.sql) is that.
select
    m.system, m.data_type, m.resource, m.external_id, m.survivor, m.id, m.candidate, m.way, m.state, m.who, m.at,
    m.done_at, m.done_by,
    coalesce(m.external_id || ' is ' || claim.data_type || ' ' || claim.id || ' by now, and is left alone', m.problem)
from duplicate_merged as m
left join lateral (
    select c.data_type, c.id
    from crosswalk as c
    where (c.system, c.resource, c.external_id) = (m.system, m.resource, m.external_id) and c.state = 'linked'
    union all
    select d.data_type, d.id
    from duplicate_candidates as d
    where (d.system, d.resource, d.external_id) = (m.system, m.resource, m.external_id) and d.state = 'decided'
        and d.number <> m.candidate
    limit 1
) as claim on m.state = 'due'
where (%(all)s or m.state = 'due')
    and (%(candidate)s::bigint is null or m.candidate = %(candidate)s)
    and (%(system)s::text is null or m.system = %(system)s)
    and (%(data_type)s::text is null or m.data_type = %(data_type)s)
    and (%(resource)s::text is null or m.resource = %(resource)s)
order by m.state = 'done', m.at, m.external_id
