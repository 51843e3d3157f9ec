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
        number, system, data_type, resource, id, version, why, record, candidates, state, found_at,
        decision, external_id, decided_by, decided_at, reason
),
noted as (
    insert into duplicate_decisions (candidate, who, decision, external_id, reason)
    select number, decided_by, %(noted)s, external_id, reason
    from decided
),
apart as (
    insert into duplicate_apart (system, data_type, resource, id, external_id, who)
    select decided.system, decided.data_type, decided.resource, decided.id, each ->> 'external_id', decided.decided_by
    from decided, json_array_elements(decided.candidates) as each
    where decided.decision = 'create'
    on conflict do nothing
),
together as (
    delete from duplicate_apart as other using decided
    where (other.system, other.data_type, other.resource, other.id, other.external_id)
        = (decided.system, decided.data_type, decided.resource, decided.id, decided.external_id)
),
taken_back as (
    delete from duplicate_merged using decided
    where duplicate_merged.candidate = decided.number and duplicate_merged.state = 'due'
)
select * from decided
