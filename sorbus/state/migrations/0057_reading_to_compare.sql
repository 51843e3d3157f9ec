-- Reading an application in order to compare it: a rolling sample within a day's budget, behind what is delivered.

-- How many requests a flow's comparisons have sent, by day (UTC).
create table reconcile_requests (
    flow text not null,
    day date not null,
    requests bigint not null,
    primary key (flow, day)
);

-- Parts of a flow's records that were looked at together: those whose id's hash is above after and at most until.
create table reconcile_look (
    number bigint generated always as identity primary key,
    flow text not null,
    after bigint not null,
    until bigint not null,
    looked_at timestamptz not null,
    -- which were there: their places, eight bytes each (little-endian)
    places bytea not null
);

create index reconcile_look_flow on reconcile_look (flow, number);

-- How many of its records have been looked at, and when the longest ago: {"records": 9, "looked_at": 7, "oldest": ...}
alter table reconcile_run add column coverage jsonb;

-- What was deleted is looked up by what it was, in case it is there again.
create index crosswalk_former on crosswalk (system, resource, external_id) where state = 'gone';

-- A record that the target doesn't let us read agrees with nothing.
alter table reconcile_difference drop constraint reconcile_difference_kind_check;
alter table reconcile_difference add constraint reconcile_difference_kind_check
    check (kind in ('missing', 'extra', 'different', 'stale', 'unread'));

drop function rate_take(text, text, integer[], double precision[], double precision);

-- Takes a request from all windows and returns 0, or returns the seconds until it is worth asking again. A caller that
-- won't wait longer than patience is not waited for. In the background a request counts as five in the fair split, and
-- half of each window of an hour or more is left to others.
create function rate_take(
    for_system text, for_flow text, of_requests integer[], of_seconds double precision[], patience double precision,
    background boolean default false
) returns double precision
language plpgsql as $$
declare
    at double precision;
    wait double precision;
    gap double precision;
    lead integer;
    horizon double precision;
    others integer;
    lowest double precision;
    highest double precision;
    waiting double precision;
    me rate_flow;
begin
    -- A crash of this server may forget the last moment's requests: not worth waiting for the disk each time.
    perform set_config('synchronous_commit', 'off', true);
    select blocked_until into wait from rate_system where system = for_system for no key update;
    if not found then
        insert into rate_system (system) values (for_system) on conflict do nothing;
        select blocked_until into wait from rate_system where system = for_system for no key update;
    end if;
    at := clock();
    wait := greatest(0, wait - at);
    if cardinality(of_requests) = 0 then
        return wait;
    end if;
    if (select count(*) from rate_window w where w.system = for_system and w.seconds = any (of_seconds))
            < cardinality(of_seconds) then
        insert into rate_window (system, seconds, requests, slot)
            select for_system, seconds, requests, floor(at / seconds * 100)
            from unnest(of_requests, of_seconds) as l(requests, seconds)
            on conflict do nothing;
    end if;

    -- What others spent counts too; but now and then one request finds out whether that is still so.
    select greatest(wait,
            max(rate_room(now.counts, now.slot, l.room, w.seconds, w.due, at)),
            max(least(rate_room(now.counts, now.slot, l.room - w.spent_elsewhere, w.seconds, w.due, at),
                w.looked_at + rate_look(w.seconds) - at)) filter (where w.spent_elsewhere > 0 and w.heard_at + w.seconds > at)),
        coalesce(max(l.seconds / l.requests) filter (where l.seconds <= 60), 1),
        greatest(2, ceil(min(l.requests) * 0.05)),
        greatest(2, max(l.seconds) filter (where l.seconds <= 60))
    into wait, gap, lead, horizon
    from (
        select requests, seconds, case when background and seconds >= 3600 then (requests + 1) / 2 else requests end as room
        from unnest(of_requests, of_seconds) as u(requests, seconds)
    ) as l
    join rate_window w on w.system = for_system and w.seconds = l.seconds
    cross join lateral (
        select rate_counts(w.counts, w.slot, floor(at / w.seconds * 100)::bigint, 0) as counts,
            greatest(w.slot, floor(at / w.seconds * 100)::bigint) as slot
    ) as now;
    if wait > patience then
        return wait;
    end if;

    select * into me from rate_flow where system = for_system and flow = for_flow;
    if not found then
        insert into rate_flow (system, flow) values (for_system, for_flow) returning * into me;
    end if;
    select count(*), min(taken), max(taken), min(taken) filter (where wake_at > at - 0.25)
        into others, lowest, highest, waiting
        from rate_flow where system = for_system and flow <> for_flow and active_until > at;
    -- Who was idle comes back with neither credit nor debt; who could not use its share doesn't save it up.
    me.taken := case when me.active_until > at then greatest(me.taken, highest - 2 * lead) else coalesce(lowest, 0) end;
    if wait = 0 and me.taken - waiting < lead is not false then
        update rate_window w
            set counts = rate_counts(w.counts, w.slot, floor(at / w.seconds * 100)::bigint, 1),
                slot = greatest(w.slot, floor(at / w.seconds * 100)::bigint),
                requests = l.requests,
                due = case when w.seconds <= 60 then greatest(w.due, at - w.seconds / 20) + w.seconds / l.requests
                    else 0 end,
                looked_at = greatest(w.looked_at, case when at >= w.looked_at + rate_look(w.seconds) then at end)
            from unnest(of_requests, of_seconds) as l(requests, seconds)
            where w.system = for_system and w.seconds = l.seconds;
        update rate_flow
            set taken = me.taken + case when background then 5 else 1 end, active_until = at + horizon, wake_at = case when wake_at > at then wake_at else 0 end
            where system = for_system and flow = for_flow;
        return 0;
    end if;
    -- A flow's callers are told one moment after the other, at its share of the rate: they don't come all at once.
    me.wake_at := least(at + wait + 10, greatest(at + wait, at + gap / 2, me.wake_at + gap * (others + 1) * 0.6));
    update rate_flow set taken = me.taken, wake_at = me.wake_at, active_until = me.wake_at + horizon
        where system = for_system and flow = for_flow;
    return me.wake_at - at;
end
$$;
