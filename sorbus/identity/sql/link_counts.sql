select system, data_type, resource, count(*) from crosswalk where state in ('linked', 'intended') group by 1, 2, 3
