select exists (
    select from crosswalk where system = %(system)s and data_type = %(data_type)s and resource in ('', %(resource)s)
)
