select id, reason from (
    select distinct on (r.id) r.id, r.outcome, r.reason
      from manual_sheet_row r join manual_sheet s using (sheet)
     where s.flow = %(flow)s and r.outcome is not null
     order by r.id, r.sheet desc
) newest
 where outcome = 'not done'
