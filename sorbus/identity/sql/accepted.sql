with accepted as (
    update crosswalk set
        accepted_at = coalesce(accepted_at, now()),
        accepted_as = coalesce(%(named)s, accepted_as),
        changed_at = now()
    where system = %(system)s and data_type = %(data_type)s and resource = %(resource)s and id = %(id)s
        and state = 'intended'
    returning id
)
-- What a person decided has been carried out: what they say from now on is of what became of it.
update duplicate_candidates set state = 'done'
from accepted
where duplicate_candidates.system = %(system)s and duplicate_candidates.data_type = %(data_type)s
    and duplicate_candidates.resource = %(resource)s
    and duplicate_candidates.id = accepted.id and duplicate_candidates.state <> 'done'
