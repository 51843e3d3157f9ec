-- Since when the schedule is known; one that has changed starts fresh.
with known as (
    select since from checklist where flow = %(flow)s and schedule = %(schedule)s
), learned as (
    insert into checklist (flow, schedule)
    select %(flow)s, %(schedule)s
     where not exists (select from known)
    on conflict (flow) do update set schedule = excluded.schedule, since = now()
    returning since
)
select since from known union all select since from learned
