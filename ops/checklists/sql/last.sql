select round, done_at, done_by, verification, figures
  from checklist_round
 where flow = %(flow)s
 order by round desc
 limit %(most)s
