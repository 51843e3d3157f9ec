select exists (select from waiting where flow = %(flow)s)
