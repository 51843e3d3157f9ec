select
    number, system, data_type, resource, id, flow, external_id, field, version, sent::text, theirs::text, ours::text, state,
    found_at, changed_at, decided_at, decided_by, reason, in_turn_with
from conflict
where number = %(number)s
