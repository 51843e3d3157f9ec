-- Letters that the topic, read again, doesn't know as open any more.
delete from letter
where data_type = %(data_type)s and state in ('open', 'requeueing', 'requeued') and read_at < %(since)s
