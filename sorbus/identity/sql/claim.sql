select id, pg_try_advisory_xact_lock(
    hashtextextended(
        current_schema() || chr(31) || %(system)s || chr(31) || %(resource)s || chr(31) || %(data_type)s || chr(31) || id,
        0
    )
)
from unnest(%(ids)s::text[]) as id
