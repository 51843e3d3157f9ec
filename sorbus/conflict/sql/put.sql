insert into conflict as old (
    system, data_type, resource, id, flow, external_id, field, version, sent, theirs, ours, state, in_turn_with, decided_at,
    decided_by
)
select
    %(system)s, %(data_type)s, %(resource)s, %(id)s, %(flow)s, %(external_id)s, field, %(version)s, sent::json, theirs::json,
    ours::json, %(state)s, in_turn_with, case when %(state)s = 'overwrite' then now() end,
    case when %(state)s = 'overwrite' then 'sorbus' end
from unnest(
    %(fields)s::text[], %(sent)s::text[], %(theirs)s::text[], %(ours)s::text[], %(in_turn_with)s::text[]
) as each (field, sent, theirs, ours, in_turn_with)
on conflict (system, data_type, resource, id, field) where state in ('open', 'overwrite', 'keep') do update set
    flow = excluded.flow,
    external_id = excluded.external_id,
    version = excluded.version,
    sent = excluded.sent,
    theirs = excluded.theirs,
    ours = excluded.ours,
    state = excluded.state,
    -- a later value of a field that is held for a loop is still about the loop
    in_turn_with = coalesce(excluded.in_turn_with, case when old.state = 'open' then old.in_turn_with end),
    found_at = case when old.state = 'open' then old.found_at else now() end,
    changed_at = now(),
    -- a person's word is kept when it is carried out, and void when the question is another one
    decided_at = case when (old.state, excluded.state) = ('overwrite', 'overwrite') then old.decided_at
        else excluded.decided_at end,
    decided_by = case when (old.state, excluded.state) = ('overwrite', 'overwrite') then old.decided_by
        else excluded.decided_by end,
    reason = case when (old.state, excluded.state) = ('overwrite', 'overwrite') then old.reason else '' end
returning number
