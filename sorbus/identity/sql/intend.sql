insert into crosswalk as old (system, data_type, resource, id, state, version, key, intended_at, sent)
values (
    %(system)s, %(data_type)s, %(resource)s, %(id)s, 'intended', %(version)s, gen_random_uuid()::text, now(),
    %(sent)s::json
)
on conflict (system, data_type, resource, id) do update set
    state = 'intended',
    version = excluded.version,
    key = case when old.state = 'intended' then old.key else excluded.key end,
    intended_at = case when old.state = 'intended' then old.intended_at else excluded.intended_at end,
    accepted_at = case when old.state = 'intended' then old.accepted_at end,
    accepted_as = case when old.state = 'intended' then old.accepted_as end,
    external_id = null,
    sent = case when old.state = 'intended' then old.sent else excluded.sent end,
    changed_at = now()
where old.state <> 'linked'
returning key
