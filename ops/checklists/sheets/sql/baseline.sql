insert into manual_record as known (flow, data_type, id, sheet, fields, confirmed_by)
values (%(flow)s, %(data_type)s, %(id)s, %(sheet)s, %(fields)s, %(who)s)
on conflict (flow, id) do update
   set sheet = excluded.sheet, fields = excluded.fields, check_again = false, confirmed_at = now(),
       confirmed_by = excluded.confirmed_by
