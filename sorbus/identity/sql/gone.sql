with gone as (
    insert into crosswalk as old (system, data_type, resource, id, state, version, key)
    values (%(system)s, %(data_type)s, %(resource)s, %(id)s, 'gone', %(version)s, gen_random_uuid()::text)
    on conflict (system, data_type, resource, id) do update set
        state = 'gone',
        version = case
            when old.state = 'intended' then excluded.version else greatest(old.version, excluded.version)
        end,
        intended_at = null,
        sent = null,
        sending = null,
        changed_at = now()
    returning id
),
ended as (
    update conflict set state = 'over', changed_at = now()
    from gone
    where conflict.system = %(system)s and conflict.data_type = %(data_type)s
        and conflict.resource = %(resource)s and conflict.id = gone.id
        and conflict.state in ('open', 'overwrite', 'keep')
)
update duplicate_candidates set state = 'done'
from gone
where duplicate_candidates.system = %(system)s and duplicate_candidates.data_type = %(data_type)s
    and duplicate_candidates.resource = %(resource)s
    and duplicate_candidates.id = gone.id and duplicate_candidates.state <> 'done'
