select s.sheet, s.code, r.row, r.id, r.before, r.after, r.outcome, r.reason, coalesce(m.target_number, ''),
       s.closed_at is not null
  from manual_sheet s
  join manual_sheet_row r using (sheet)
  left join manual_record m on m.flow = s.flow and m.id = r.id
 where s.flow = %(flow)s and s.code = any(%(codes)s)
