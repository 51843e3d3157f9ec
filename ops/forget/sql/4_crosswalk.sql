-- The row stays: it says that the record is gone, should an older event of it come late.
update crosswalk
set sent = null, sending = null, external_id = case when state = 'gone' then null else external_id end, changed_at = now()
where data_type = %(data_type)s and id = %(id)s
    and (sent is not null or sending is not null or (state = 'gone' and external_id is not null))
