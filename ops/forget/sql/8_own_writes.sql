-- What was written of it into applications of two-way flows.
update own_write set before = null, sent = null, suspects = null, kept = '{}', opened_at = null
where data_type = %(data_type)s and id = %(id)s
    and (before is not null or sent is not null or suspects is not null or kept::text <> '{}')
