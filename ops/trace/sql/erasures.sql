select at, who, reason, complete from erasure where data_type = %(data_type)s and id = %(id)s order by at
