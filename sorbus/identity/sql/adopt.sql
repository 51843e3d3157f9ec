-- Rows from before links were of a resource get theirs. A record that another data type is linked to is shared from now on.
with links as (
    update crosswalk as one set
        resource = %(resource)s,
        shared = exists (
            select from crosswalk other
            where other.system = one.system and other.external_id = one.external_id and other.state = 'linked'
                and other.data_type <> one.data_type and other.resource in ('', %(resource)s)
        )
    where system = %(system)s and data_type = %(data_type)s and resource = ''
    returning one.shared
),
candidates as (
    update duplicate_candidates set resource = %(resource)s
    where system = %(system)s and data_type = %(data_type)s and resource = ''
),
apart as (
    update duplicate_apart set resource = %(resource)s
    where system = %(system)s and data_type = %(data_type)s and resource = ''
),
merged as (
    update duplicate_merged set resource = %(resource)s
    where system = %(system)s and data_type = %(data_type)s and resource = ''
),
conflicts as (
    update conflict set resource = %(resource)s
    where system = %(system)s and data_type = %(data_type)s and resource = ''
)
select count(*), count(*) filter (where shared) from links
