-- What our role may read of some tables: whether policies of row security would hide rows from it, and which columns it
-- has no privilege to select.
select c.oid::bigint,
       row_security_active(c.oid),
       c.relforcerowsecurity,
       pg_get_userbyid(c.relowner)::text = current_user,
       current_user::text,
       array(
         select a.attname::text from pg_attribute a
         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
           and not has_column_privilege(c.oid, a.attnum, 'select')
         order by a.attnum
       )
from pg_class c
where c.oid = any (%s)
