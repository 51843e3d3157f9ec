-- How often each of these subjects has tried, and in how many seconds the oldest try is forgotten.
select subject, count(*), extract(epoch from min(at) + %(window)s * interval '1 second' - now())::float8
from console_attempt
where subject = any(%(subjects)s) and at > now() - %(window)s * interval '1 second'
group by subject
