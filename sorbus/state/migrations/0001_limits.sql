-- Rate limits and circuit breakers of the systems behind HTTP, for all processes at once: sorbus/http_api/limits.
-- Times are seconds since 1970 by this server's clock, the only one that all processes share.

create function clock() returns double precision
language sql volatile
return extract(epoch from clock_timestamp())::double precision;


-- The row that every request to a system locks, and until when the system itself told us to wait.
create table rate_system (
    system text primary key,
    blocked_until double precision not null default 0,
    refusals integer not null default 0,
    refused_at double precision not null default 0
);

-- One window of a system. counts holds the requests of its last 103 hundredths, the oldest first: 100 make the window,
-- one more since a stretch may begin within a hundredth, two more for what the network adds or takes on the way.
create table rate_window (
    system text not null,
    seconds double precision not null,
    requests integer not null,
    slot bigint not null,
    counts integer[] not null default array_fill(0, array[103]),
    -- when the next is due while more than half is used: a steady stream is refused less often than bursts are
    due double precision not null default 0,
    -- how many others have spent of the same limit, where the system says what is left, and when somebody last looked
    spent_elsewhere integer not null default 0,
    heard_at double precision not null default 0,
    looked_at double precision not null default 0,
    primary key (system, seconds)
) with (fillfactor = 50);

-- Who asks: for the fair split. taken grows by one a request; of two flows that wait, the one with less goes first.
create table rate_flow (
    system text not null,
    flow text not null,
    taken double precision not null default 0,
    wake_at double precision not null default 0,
    active_until double precision not null default 0,
    primary key (system, flow)
) with (fillfactor = 50);


-- counts as they are at a later slot, with some more requests in that one.
create function rate_counts(counts integer[], slot bigint, at_slot bigint, more integer) returns integer[]
language sql immutable
return case
    when at_slot <= slot then counts[1:102] || (counts[103] + more)
    when at_slot - slot >= 103 then array_fill(0, array[102]) || more
    else counts[at_slot - slot + 1:103] || array_fill(0, array[(at_slot - slot - 1)::integer]) || more
end;

-- Seconds until a window (its counts brought to now) has room for one more, or one is due; not above 0 if it has.
create function rate_room(
    counts integer[], slot bigint, requests integer, seconds double precision, due double precision, at double precision
) returns double precision
language plpgsql immutable as $$
declare
    one integer;
    used integer := 0;
    gone integer := 0;
begin
    foreach one in array counts loop
        used := used + one;
    end loop;
    if used < requests then
        return case when used * 2 < requests then 0 else due - at end;
    end if;
    foreach one in array counts loop
        used := used - one;
        gone := gone + 1;
        exit when used < requests;
    end loop;
    return (slot + gone) * seconds / 100 - at;
end
$$;


-- Seconds after which one request finds out whether others still have spent what is missing: an hour for a day's limit.
create function rate_look(seconds double precision) returns double precision
language sql immutable
return greatest(seconds / 24, least(seconds, 10));


-- Takes a request from all windows and returns 0, or returns the seconds until it is worth asking again. A caller that
-- won't wait longer than patience is not waited for.
create function rate_take(
    for_system text, for_flow text, of_requests integer[], of_seconds double precision[], patience double precision
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
            max(rate_room(now.counts, now.slot, l.requests, w.seconds, w.due, at)),
            max(least(rate_room(now.counts, now.slot, l.requests - w.spent_elsewhere, w.seconds, w.due, at),
                w.looked_at + rate_look(w.seconds) - at)) filter (where w.spent_elsewhere > 0 and w.heard_at + w.seconds > at)),
        coalesce(max(l.seconds / l.requests) filter (where l.seconds <= 60), 1),
        greatest(2, ceil(min(l.requests) * 0.05)),
        greatest(2, max(l.seconds) filter (where l.seconds <= 60))
    into wait, gap, lead, horizon
    from unnest(of_requests, of_seconds) as l(requests, seconds)
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
            set taken = me.taken + 1, active_until = at + horizon, wake_at = case when wake_at > at then wake_at else 0 end
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

-- Notes what an answer said: to wait (seconds; negative: it refused without saying how long), and what is left.
create function rate_heard(
    for_system text, wait double precision, of_seconds double precision[], of_left integer[]
) returns void
language plpgsql as $$
declare
    at double precision;
begin
    perform set_config('synchronous_commit', 'off', true);
    insert into rate_system (system) values (for_system) on conflict do nothing;
    perform from rate_system where system = for_system for no key update;
    at := clock();
    if wait >= 0 then
        update rate_system set blocked_until = greatest(blocked_until, at + wait) where system = for_system;
    elsif wait < 0 then
        -- Longer only if it is refused again soon. Those on their way when the first was refused don't count again.
        update rate_system
            set refusals = case when at < refused_at + 1 - 3 * wait * 2 ^ refusals then least(refusals + 1, 10) else 0 end,
                refused_at = at
            where system = for_system and blocked_until <= at;
        update rate_system set blocked_until = at + least(60, -wait * 2 ^ refusals) * (1 + random() / 4)
            where system = for_system and refused_at = at;
    end if;
    -- Those on their way make it less than it is by as many, and so do those refused: 0 left is no news if we knew more.
    update rate_window w
        set spent_elsewhere = greatest(0, w.requests - l.remaining - (
                select sum(c) from unnest(rate_counts(w.counts, w.slot, floor(at / w.seconds * 100)::bigint, 0)) as u(c)
            ), case when l.remaining = 0 and w.heard_at + w.seconds > at then w.spent_elsewhere end),
            heard_at = at,
            looked_at = at
        from unnest(of_seconds, of_left) as l(seconds, remaining)
        where w.system = for_system and w.seconds = l.seconds;
end
$$;


-- The breaker: closed while open_until is null. A probe has until open_until to come back; then another goes.
create table breaker (
    system text primary key,
    faults integer not null default 0,
    fault_at double precision not null default 0,
    trips integer not null default 0,
    opened_at double precision,
    open_until double precision,
    probing boolean not null default false
);

-- Seconds to wait before a request; 0: go. clean: a success would change nothing.
create function breaker_allow(for_system text, lease double precision, out wait double precision, out clean boolean)
language sql as $$
    with probe as (
        update breaker set probing = true, open_until = clock() + lease
            where system = for_system and open_until <= clock()
            returning true
    )
    select case
            when exists (select from probe) or b.open_until is null then 0
            when b.probing then least(greatest(b.open_until - clock(), 0.1), 1 + random())
            else greatest(b.open_until - clock(), 0.1)
        end,
        b.open_until is null and b.faults = 0
    from breaker b where b.system = for_system
    union all select 0, true where not exists (select from breaker where system = for_system)
$$;

create function breaker_failed(
    for_system text, most integer, within double precision, shortest double precision, longest double precision
) returns void
language plpgsql as $$
declare
    at double precision;
    b breaker;
begin
    insert into breaker (system) values (for_system) on conflict do nothing;
    select * into b from breaker where system = for_system for update;
    at := clock();
    if b.open_until is not null and not b.probing then
        return;  -- a request that was on its way when it opened
    end if;
    b.faults := case when at - b.fault_at > within then 1 else b.faults + 1 end;
    if b.probing or b.faults >= most then
        b.opened_at := coalesce(b.opened_at, at);
        b.open_until := at + least(longest, shortest * 2 ^ least(b.trips, 30) * (1 + random() / 4));
        b.trips := b.trips + 1;
        b.probing := false;
    end if;
    update breaker
        set faults = b.faults, fault_at = at, trips = b.trips, opened_at = b.opened_at, open_until = b.open_until,
            probing = b.probing
        where system = for_system;
end
$$;

create function breaker_succeeded(for_system text) returns void
language sql
begin atomic
    update breaker set faults = 0, trips = 0, opened_at = null, open_until = null, probing = false
        where system = for_system;
end;
