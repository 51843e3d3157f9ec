insert into checklist_round (flow, round, done_by, verification, figures)
values (%(flow)s, %(round)s, %(who)s, %(verification)s, %(figures)s)
on conflict do nothing
returning done_at
