-- Of a target's key column: whether the table numbers it itself, from a counter of its own.
select a.atttypid in (20, 21, 23) and (
           a.attidentity <> ''
           or exists (select from pg_attrdef d
                       where d.adrelid = a.attrelid and d.adnum = a.attnum
                         and pg_get_expr(d.adbin, d.adrelid) like '%%nextval(%%'))
  from pg_attribute a
 where a.attrelid = %(table)s and a.attname = %(key)s and not a.attisdropped
