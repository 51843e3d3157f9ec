with before as (
    select number, decision, external_id
    from duplicate_candidates
    where system = %(system)s and data_type = %(data_type)s and resource = %(resource)s and id = %(id)s
        and state = 'decided'
),
reopened as (
    insert into duplicate_decisions (candidate, who, decision, external_id, reason)
    select number, 'sorbus', 'reopened', external_id, 'it could not be carried out: ' || %(why)s
    from before
)
insert into duplicate_candidates (system, data_type, resource, id, version, why, record, candidates, state)
values (
    %(system)s, %(data_type)s, %(resource)s, %(id)s, %(version)s, %(why)s, %(record)s::json, %(candidates)s::json,
    'open'
)
on conflict (system, data_type, resource, id) do update set
    version = excluded.version,
    why = excluded.why,
    record = excluded.record,
    candidates = excluded.candidates,
    state = 'open',
    decision = null,
    external_id = null,
    decided_at = null,
    decided_by = null,
    reason = null,
    found_at = case when duplicate_candidates.state = 'open' then duplicate_candidates.found_at else now() end
returning number
