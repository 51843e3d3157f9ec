-- Each flow's last comparison of all its records; the first time that it ran, for those that were never compared.
(
    select distinct on (flow) flow, started_at, true
    from reconcile_run
    where method <> 'changed'
    order by flow, number desc
)
union all
select subject, min(began_at), false
from history_run
where activity = 'delivery'
group by subject
