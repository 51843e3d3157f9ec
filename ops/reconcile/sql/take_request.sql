-- One row where a request is left.
insert into reconcile_requests as r (flow, day, requests)
values (%(flow)s, (now() at time zone 'utc')::date, 1)
on conflict (flow, day) do update set requests = r.requests + 1
where %(most)s::bigint is null or r.requests < %(most)s
returning requests
