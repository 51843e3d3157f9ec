-- Times as seconds from now, by this server's clock alone: the processes' clocks may differ.
select access_token,
       refresh_token,
       extract(epoch from expires_at - clock_timestamp())::float8,
       extract(epoch from expires_at - obtained_at)::float8
from token
where system = %(system)s and starts_with(seed, %(seed)s)
