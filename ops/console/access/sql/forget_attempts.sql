delete from console_attempt
where subject = any(%(all_of)s)
    or ctid in (
        select distinct on (subject) ctid
        from console_attempt
        where subject = any(%(one_of)s)
        order by subject, at desc
    )
