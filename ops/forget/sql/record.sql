insert into erasure (who, data_type, id, reason, complete, receipt, hash)
values (%(who)s, %(data_type)s, %(id)s, %(reason)s, %(complete)s, %(receipt)s::json, %(hash)s)
returning number
