-- Of each flow the last, however many there are of it.
with recursive known (flow) as (
    (select flow from reconcile_run order by flow limit 1)
    union all
    select (select flow from reconcile_run r where r.flow > known.flow order by flow limit 1) from known
    where known.flow is not null
)
select r.*
from known cross join lateral (
    select flow, finished_at, not_compared <> '[]' or undecided > 0, coverage
    from reconcile_run r
    where r.flow = known.flow
    order by number desc
    limit 1
) r
