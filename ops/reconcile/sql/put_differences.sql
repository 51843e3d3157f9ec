insert into reconcile_difference as d
    (flow, id, kind, fields, why, cause, first_run, last_run, first_seen, last_seen)
select %(flow)s, f.id, f.kind, f.fields::jsonb, f.why, f.cause, %(run)s, %(run)s, %(at)s, %(at)s
from unnest(%(ids)s::text[], %(kinds)s::text[], %(fields)s::text[], %(whys)s::text[], %(causes)s::text[])
    as f (id, kind, fields, why, cause)
on conflict (flow, md5(id)) where closed_at is null do update
set kind = excluded.kind, fields = excluded.fields, why = excluded.why, cause = excluded.cause,
    last_run = excluded.last_run, last_seen = excluded.last_seen
