-- Counted on the index alone; names come from the oldest letter of each group.
with g as materialized (
    select l.cause, count(*) as count, count(*) filter (where l.state <> 'open') as under_way,
        min(l.first_at) as first_at, max(l.last_at) as last_at
    from letter l left join letter_assignment a on a.id = l.id
    where {conditions}
    group by l.cause
), o as (
    select distinct on (l.cause) l.*
    from g join letter l on l.cause = g.cause and l.first_at = g.first_at and {states}
    order by l.cause, l.id
)
select g.cause, o.data_type, o.flow, o.system, o.reason, o.field, o.rule, o.id, o.message, o.words, g.count, g.under_way,
    g.first_at, g.last_at
from g join o using (cause)
order by g.count desc, g.first_at
