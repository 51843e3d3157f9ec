with moved as (
    update duplicate_candidates set external_id = %(now)s
    where number = %(number)s and state = 'decided' and external_id = %(was)s
),
followed as (
    update duplicate_merged set survivor = %(now)s where candidate = %(number)s and survivor = %(was)s
)
insert into duplicate_merged (
    system, data_type, resource, external_id, survivor, id, candidate, way, state, who, done_at, done_by
)
select system, data_type, resource, %(was)s, %(now)s, id, number, 'merge', 'done', %(who)s, now(), 'sorbus'
from duplicate_candidates
where number = %(number)s
on conflict do nothing
