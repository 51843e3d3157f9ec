-- The row stays: its version says that the record is gone, should an older event of it come late.
update written_record set key = null
where data_type = %(data_type)s and id = %(id)s and key is not null
