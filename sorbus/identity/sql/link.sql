with linked as (
    insert into crosswalk as old (
        system, data_type, resource, shared, id, state, external_id, version, key, sent, linked_at
    )
    values (
        %(system)s, %(data_type)s, %(resource)s, %(shared)s, %(id)s, 'linked', %(external_id)s, %(version)s,
        gen_random_uuid()::text, %(sent)s::json, now()
    )
    on conflict (system, data_type, resource, id) do update set
        state = 'linked',
        external_id = excluded.external_id,
        shared = excluded.shared,
        version = case
            when old.state = 'intended' then excluded.version else greatest(old.version, excluded.version)
        end,
        sent = case
            when old.state = 'linked' and old.version > excluded.version then old.sent else excluded.sent
        end,
        linked_at = now(),
        changed_at = now()
    where old.state <> 'linked' or old.external_id = excluded.external_id
    returning id
),
settled as (
    update duplicate_candidates set state = 'done'
    from linked
    where duplicate_candidates.system = %(system)s and duplicate_candidates.data_type = %(data_type)s
        and duplicate_candidates.resource = %(resource)s
        and duplicate_candidates.id = linked.id and duplicate_candidates.state <> 'done'
)
select id from linked
