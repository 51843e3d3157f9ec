insert into reconcile_look (flow, after, until, looked_at, places)
values (%(flow)s, %(after)s, %(until)s, %(at)s, %(places)s)
