insert into drift_shape (system, resource, fields) values (%(system)s, %(resource)s, %(fields)s::jsonb)
on conflict (system, resource) do update set fields = excluded.fields
