-- What was noted while this server's clock was ahead: put right once the clock is, or systems would wait until then.

-- Whether a system's times were in the future, and are set to now. What was asked meanwhile counts as asked just now.
create function rate_put_right(for_system text) returns boolean
language plpgsql as $$
declare
    at double precision;
    found boolean;
begin
    perform set_config('synchronous_commit', 'off', true);
    perform from rate_system where system = for_system for no key update;
    at := clock();
    -- a block is a day at most; a window's last slot began before the request that was counted in it
    select exists (select from rate_system where system = for_system and blocked_until > at + 86400)
            or exists (select from rate_window where system = for_system and slot * seconds / 100 > at + 10)
        into found;
    if found then
        update rate_system set blocked_until = 0, refusals = 0, refused_at = least(refused_at, at)
            where system = for_system;
        update rate_window
            set slot = least(slot, floor(at / seconds * 100)::bigint), due = 0, heard_at = least(heard_at, at),
                looked_at = least(looked_at, at)
            where system = for_system;
        update rate_flow set wake_at = 0, active_until = least(active_until, at) where system = for_system;
    end if;
    return found;
end
$$;

-- Seconds to wait before a request; 0: go. clean: a success would change nothing. Nothing is open for ten minutes.
create or replace function breaker_allow(
    for_system text, lease double precision, out wait double precision, out clean boolean
)
language sql as $$
    with probe as (
        update breaker set probing = true, open_until = clock() + lease, opened_at = least(opened_at, clock())
            where system = for_system and (open_until <= clock() or open_until > clock() + 600)
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
