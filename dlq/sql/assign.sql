insert into letter_assignment (id, person, by)
select unnest(%(ids)s::text[]), %(person)s, %(who)s
on conflict (id) do update set person = excluded.person, by = excluded.by, at = clock_timestamp()
