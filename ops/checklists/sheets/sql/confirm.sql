-- Nothing is returned where a newer sheet has confirmed the record: the person may have overwritten what that one said.
insert into manual_record as known (flow, data_type, id, sheet, fields, target_number, confirmed_by)
select s.flow, r.data_type, r.id, r.sheet, r.after, %(number)s, %(who)s
  from manual_sheet_row r join manual_sheet s using (sheet)
 where r.sheet = %(sheet)s and r.row = %(row)s
on conflict (flow, id) do update
   set sheet = excluded.sheet, fields = excluded.fields, target_number = excluded.target_number,
       check_again = false, confirmed_at = now(), confirmed_by = excluded.confirmed_by
 where known.sheet <= excluded.sheet
returning id
