select number, after, until, looked_at, places from reconcile_look where flow = %(flow)s order by number
