with decided as (
    update duplicate_candidates set
        state = 'decided',
        decision = %(choice)s,
        external_id = %(external_id)s,
        decided_by = %(who)s,
        decided_at = now(),
        reason = %(reason)s
    where number = %(number)s and state <> 'done'
    returning
        number, system, data_type, id, version, why, record, candidates, state, found_at,
        decision, external_id, decided_by, decided_at, reason
),
noted as (
    insert into duplicate_decisions (candidate, who, decision, external_id, reason)
    select number, decided_by, decision, external_id, reason
    from decided
)
select * from decided
