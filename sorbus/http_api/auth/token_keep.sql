-- now() is when the transaction began, before the tokens were asked for: never later than they were made.
insert into token (system, seed, access_token, refresh_token, expires_at, obtained_at)
values (%(system)s, %(seed)s, %(access)s, %(refresh)s, now() + make_interval(secs => %(lasts)s::float8), now())
on conflict (system) do update
-- a map that no longer names the first refresh token may name it again later
set seed = case when starts_with(token.seed, excluded.seed) then token.seed else excluded.seed end,
    access_token = excluded.access_token,
    refresh_token = excluded.refresh_token,
    expires_at = excluded.expires_at,
    obtained_at = excluded.obtained_at
