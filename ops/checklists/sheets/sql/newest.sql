select sheet, code, round, prepared_at, prepared_by, owner_figures, closed_at,
       (select count(*) from manual_sheet_row r where r.sheet = s.sheet),
       (select count(*) from manual_sheet_row r where r.sheet = s.sheet and outcome in ('done', 'outdated')),
       (select count(*) from manual_sheet_row r where r.sheet = s.sheet and outcome = 'not done')
  from manual_sheet s
 where flow = %(flow)s
 order by sheet desc
 limit 1
