-- The record's duplicate candidate is settled with it.
with renamed as (
    update crosswalk set external_id = %(external_id)s, version = 0, sent = null, sending = null, linked_at = now(), changed_at = now()
    where system = %(system)s and data_type = %(data_type)s and resource = %(resource)s and id = %(id)s and state = 'linked'
    returning id
),
settled as (
    update duplicate_candidates set state = 'done'
    from renamed
    where duplicate_candidates.system = %(system)s and duplicate_candidates.data_type = %(data_type)s
        and duplicate_candidates.resource = %(resource)s
        and duplicate_candidates.id = renamed.id and duplicate_candidates.state <> 'done'
)
select id from renamed
