-- What is known of a data type in one resource, as of another system, data type or resource: they have other names now.
with links as (
    update crosswalk set system = %(system)s, data_type = %(data_type)s, resource = %(resource)s
    where system = %(from_system)s and data_type = %(from_type)s and resource = %(from_resource)s
    returning state
),
candidates as (
    update duplicate_candidates set system = %(system)s, data_type = %(data_type)s, resource = %(resource)s
    where system = %(from_system)s and data_type = %(from_type)s and resource = %(from_resource)s
),
apart as (
    update duplicate_apart set system = %(system)s, data_type = %(data_type)s, resource = %(resource)s
    where system = %(from_system)s and data_type = %(from_type)s and resource = %(from_resource)s
),
merged as (
    update duplicate_merged set system = %(system)s, data_type = %(data_type)s, resource = %(resource)s
    where system = %(from_system)s and data_type = %(from_type)s and resource = %(from_resource)s
),
conflicts as (
    update conflict set system = %(system)s, data_type = %(data_type)s, resource = %(resource)s
    where system = %(from_system)s and data_type = %(from_type)s and resource = %(from_resource)s
)
select count(*) from links
