insert into audit (who, action, subject_kind, subject, data_type, record, reason, details, part_of)
values (%(who)s, %(action)s, %(subject_kind)s, %(subject)s, %(data_type)s, %(record)s, %(reason)s, %(details)s,
    %(part_of)s)
returning number
