-- Times that this server's clock wrote while it was ahead, and that something waits for: as if it were now.
update crosswalk
set intended_at = case when intended_at > now() then now() else intended_at end,
    accepted_at = case when accepted_at > now() then now() else accepted_at end
where system = %(system)s and data_type = %(data_type)s and resource = %(resource)s and id = any (%(ids)s)
    and greatest(intended_at, accepted_at) > now()
