select coalesce(sum(requests), 0)
from reconcile_requests
where flow = %(flow)s and day = (now() at time zone 'utc')::date
