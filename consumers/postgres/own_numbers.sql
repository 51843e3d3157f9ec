-- Of a target's key column, or of those of its name behind a view: whether its table numbers its rows itself.
with recursive behind (oid) as (
    select %(table)s::oid
     union
    select d.refobjid
      from behind b
      join pg_rewrite r on r.ev_class = b.oid and r.ev_type = '1'
      join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
)
select coalesce(bool_or(a.attidentity <> ''
           or exists (select from pg_attrdef d
                       where d.adrelid = a.attrelid and d.adnum = a.attnum
                         and pg_get_expr(d.adbin, d.adrelid) like '%%nextval(%%')), false)
  from behind b
  join pg_attribute a on a.attrelid = b.oid and a.attname = %(key)s and not a.attisdropped
