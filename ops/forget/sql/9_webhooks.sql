-- What was accepted stays in webhook_record: its version says that the record is gone, should an older event come late.
delete from webhook_attempt where data_type = %(data_type)s and id = %(id)s
