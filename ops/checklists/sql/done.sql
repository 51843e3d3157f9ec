insert into checklist_round (flow, round, done_by, verification) values (%(flow)s, %(round)s, %(who)s, %(verification)s)
on conflict do nothing
returning done_at
