-- What a column of a list field's table refers to in the record's own table; no row where it refers to nothing there.
select distinct f.attname::text
  from pg_constraint c
 cross join unnest(c.conkey, c.confkey) as pair (own, other)
  join pg_attribute a on a.attrelid = c.conrelid and a.attnum = pair.own and a.attname = %(parent)s
  join pg_attribute f on f.attrelid = c.confrelid and f.attnum = pair.other
 where c.contype = 'f' and c.conrelid = %(table)s and c.confrelid = %(root)s
