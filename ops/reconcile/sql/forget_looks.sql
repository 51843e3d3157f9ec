delete from reconcile_look where flow = %(flow)s and number < %(before)s
