insert into duplicate_merged (system, data_type, resource, external_id, survivor, id, candidate, way, state, who)
select system, data_type, resource, other, external_id, id, number, %(way)s, 'due', %(who)s
from duplicate_candidates, unnest(%(others)s::text[]) as other
where number = %(number)s
on conflict (system, data_type, resource, external_id) do update set
    survivor = excluded.survivor,
    id = excluded.id,
    candidate = excluded.candidate,
    way = excluded.way,
    who = excluded.who,
    at = now(),
    problem = ''
where duplicate_merged.state = 'due'
