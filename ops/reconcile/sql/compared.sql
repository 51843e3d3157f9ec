-- Each flow's last comparison of all its records; the first time that it ran, for those that were never compared.
with recursive known (flow) as (
    (select flow from reconcile_run where method <> 'changed' order by flow limit 1)
    union all
    select (
        select flow from reconcile_run r where method <> 'changed' and r.flow > known.flow order by flow limit 1
    ) from known
    where known.flow is not null
)
select r.*
from known cross join lateral (
    select flow, started_at, true
    from reconcile_run r
    where method <> 'changed' and r.flow = known.flow
    order by number desc
    limit 1
) r
union all
select subject, min(began_at), false
from history_run
where activity = 'delivery'
group by subject
