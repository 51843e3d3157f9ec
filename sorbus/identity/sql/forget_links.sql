with links as (
    delete from crosswalk
    where system = %(from_system)s and data_type = %(from_type)s and resource = %(from_resource)s
    returning state
)
select count(*) from links
