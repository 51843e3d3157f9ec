-- Each system's windows with what is left of them, how long it told us to wait, and its circuit. A window that the last
-- request didn't count any more belongs to a limit that was changed.
with moment as (
    select clock() as at
), counted as (
    select w.system, w.seconds, w.requests,
        greatest(0,
            w.requests - case when w.heard_at + w.seconds > m.at then w.spent_elsewhere else 0 end - (
                select sum(c) from unnest(rate_counts(w.counts, w.slot, floor(m.at / w.seconds * 100)::bigint, 0)) as u(c)
            )
        ) as remaining,
        (w.slot + 1) * w.seconds / 100 >= max(w.slot * w.seconds / 100) over (partition by w.system) as is_current
    from rate_window w, moment m
)
select coalesce(s.system, b.system),
    coalesce((
        select array_agg(array[c.seconds, c.requests, c.remaining]::double precision[] order by c.seconds)
        from counted c where c.system = s.system and c.is_current
    ), '{}'),
    greatest(0, coalesce(s.blocked_until, 0) - m.at),
    greatest(0, coalesce(m.at - b.opened_at, 0)),
    coalesce(b.probing, false)
from moment m, rate_system s full join breaker b using (system)
order by 1
