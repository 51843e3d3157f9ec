-- A row that another sheet confirmed exactly so needs no answer of its own: a sheet may be prepared twice.
with newest as (
    select * from manual_sheet where flow = %(flow)s order by sheet desc limit 1
)
select s.sheet, s.code, s.round, s.prepared_at, s.prepared_by, s.owner_figures, s.closed_at,
       count(r.row),
       count(*) filter (where r.outcome in ('done', 'outdated')
                           or (r.outcome is null and m.id is not null and not m.check_again
                               and m.fields::jsonb is not distinct from r.after::jsonb)),
       count(*) filter (where r.outcome = 'not done'), s.more, s.left_out
  from newest s
  left join manual_sheet_row r using (sheet)
  left join manual_record m on m.flow = s.flow and m.id = r.id
 group by s.sheet, s.code, s.round, s.prepared_at, s.prepared_by, s.owner_figures, s.closed_at, s.more, s.left_out
