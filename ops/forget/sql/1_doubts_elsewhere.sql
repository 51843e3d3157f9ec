-- The record as one that another may be the same as.
update duplicate_candidates c
set candidates = (
    select json_agg(
        case when each ->> 'external_id' = w.external_id
            then json_build_object(
                'external_id', each ->> 'external_id', 'score', each -> 'score', 'reasons', json_build_array(),
                'fields', json_build_object()
            )
            else each
        end
    )
    from json_array_elements(c.candidates) each
)
from crosswalk w
where w.data_type = %(data_type)s and w.id = %(id)s and w.system = c.system and w.resource = c.resource
    and (c.data_type, c.id) <> (w.data_type, w.id)
    and exists (
        select from json_array_elements(c.candidates) each
        where each ->> 'external_id' = w.external_id
            and ((each -> 'fields')::text <> '{}' or json_array_length(each -> 'reasons') > 0)
    )
