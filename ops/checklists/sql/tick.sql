insert into checklist_tick (flow, round, step, who) values (%(flow)s, %(round)s, %(step)s, %(who)s)
on conflict do nothing
returning at
