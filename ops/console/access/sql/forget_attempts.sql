delete from console_attempt
where subject = %(account)s
    or ctid = (select ctid from console_attempt where subject = %(address)s order by at desc limit 1)
