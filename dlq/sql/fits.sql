-- The place up to which letters fit into a page: so many, and so many bytes of their records; one always does.
select first_at, id
from (
    select first_at, id, sum(size) over (order by first_at, id) - size as before
    from (
        select l.first_at, l.id, coalesce(octet_length(l.frame), 0) as size
        from letter l left join letter_assignment a on a.id = l.id
        where {conditions}
        order by l.first_at, l.id
        limit %(most)s
    ) page
) running
where before < %(bytes)s
order by first_at desc, id desc
limit 1
