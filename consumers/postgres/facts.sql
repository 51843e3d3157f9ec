-- Of a table: whether it is one (not a view), whether `key` alone is unique in a way that `on conflict` can use, whether
-- row security applies to us without any policy that lets us write, or delete, whether triggers of the owner may fill columns, and
-- which columns take no value from anybody: identities that are always generated, and computed columns.
select c.relkind in ('r', 'p'),
       exists (
           select from pg_index i
             join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0] and a.attname = %(key)s
            where i.indrelid = c.oid and i.indisunique and i.indimmediate and i.indisvalid
              and i.indnkeyatts = 1 and i.indpred is null and i.indexprs is null),
       row_security_active(c.oid) and not exists (
           select from pg_policy p
            where p.polrelid = c.oid and p.polpermissive and p.polcmd in ('*', 'a')
              and (p.polroles = '{0}' or exists (select from unnest(p.polroles) r where pg_has_role(r, 'usage')))),
       row_security_active(c.oid) and not exists (
           select from pg_policy p
            where p.polrelid = c.oid and p.polpermissive and p.polcmd in ('*', 'd')
              and (p.polroles = '{0}' or exists (select from unnest(p.polroles) r where pg_has_role(r, 'usage')))),
       exists (select from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal and t.tgtype & 7 = 7),
       array(select attname::text from pg_attribute a
              where a.attrelid = c.oid and not a.attisdropped and a.attidentity = 'a' order by attnum),
       array(select attname::text from pg_attribute a
              where a.attrelid = c.oid and not a.attisdropped and a.attgenerated <> '' order by attnum)
  from pg_class c
 where c.oid = %(table)s
