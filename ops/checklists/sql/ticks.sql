select step, who, at from checklist_tick where flow = %(flow)s and round = %(round)s
